"""A network that learns what other models say."""

import json

import datasets
import numpy as np
import pytest
import torch
from conftest import MICRO_SIZE, run_ladnn
from test_training import MICRO, train_micro

from ladnn_hf import LaDnnForImageClassification, LaDnnImageProcessor, Predictor
from ladnn_hf.distillation import Teachers
from ladnn_hf.slice_dataset import load_slices

PLAIN = [
    *("--mixup", "0", "--augmentation", "published", "--lr_scheduler_type", "constant"),
    *("--drawn_opacities", "0", "--drawn_findings", "0", "--eval_strategy", "no", "--save_strategy", "no"),
]


@pytest.fixture(scope="module")
def teachers(phantom_slices, tmp_path_factory):
    """Two runs: one that has learned, and one of another input size that has not."""
    folder = tmp_path_factory.mktemp("teachers")
    train_micro(phantom_slices, folder / "learned", *PLAIN, "--num_train_epochs", "12", "--seed", "3")
    train_micro(phantom_slices, folder / "new", *PLAIN, "--max_steps", "1", "--image_size", "48")
    return [str(folder / "learned"), str(folder / "new")]


@pytest.fixture(scope="module")
def mislabelled(phantom_slices, tmp_path_factory):
    """The phantoms, whose training slices have each the other label."""
    slices = datasets.load_from_disk(phantom_slices)
    slices["train"] = slices["train"].map(lambda row: {"label": 1 - row["label"]})
    folder = tmp_path_factory.mktemp("mislabelled") / "phantoms"
    slices.save_to_disk(folder)
    return folder


def test_a_network_with_a_teacher_learns_what_it_says_and_not_the_labels(teachers, mislabelled, tmp_path):
    flags = [*PLAIN, "--num_train_epochs", "6", "--learning_rate", "1e-3", "--model", teachers[0]]
    train_micro(mislabelled, tmp_path / "taught", *flags, "--teachers", teachers[0])
    train_micro(mislabelled, tmp_path / "labels", *flags)
    images = load_slices(mislabelled)["validation"]["image"][:]

    def said(model):
        return [answer.covid_probability for answer in Predictor(model, gate=False).predict(images)]

    teacher = said(teachers[0])
    taught, by_labels = (np.corrcoef(said(tmp_path / name), teacher)[0, 1] for name in ("taught", "labels"))
    assert taught > 0.8 and taught > by_labels + 0.3, (taught, by_labels)


def test_teachers_say_together_the_mean_of_their_logits_each_at_its_own_size(teachers):
    processor = LaDnnImageProcessor.from_pretrained(teachers[0])
    slices = torch.rand(3, 3, MICRO_SIZE, MICRO_SIZE)
    networks = [LaDnnForImageClassification.from_pretrained(model).eval() for model in teachers]
    smaller = torch.nn.functional.interpolate(slices, (48, 48), mode="bilinear", antialias=True)
    with torch.no_grad():
        alone = [
            network(pixel_values).logits
            for network, pixel_values in zip(networks, (slices, smaller), strict=True)
        ]
        together = Teachers(teachers, processor, torch.device("cpu"))(slices)
    assert torch.allclose(together, sum(alone).div(2).softmax(dim=1)[:, 1], atol=1e-5)


def test_a_teacher_that_sees_slices_otherwise_is_refused(teachers, phantom_slices, tmp_path):
    with pytest.raises(ValueError, match="expected an image processor that differs in size alone"):
        train_micro(phantom_slices, tmp_path, "--crop_to_lungs", "False", "--teachers", teachers[0])
    with pytest.raises(ValueError, match=r"expected a model folder with config\.json"):
        train_micro(phantom_slices, tmp_path, "--teachers", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="Expected --average without --model, --teachers"):
        train_micro(phantom_slices, tmp_path, "--average", *teachers, "--teachers", teachers[0])
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("flag", ["--model", "--teachers"])
def test_a_model_that_is_learned_from_is_not_written_over(flag, teachers, phantom_slices):
    with pytest.raises(ValueError, match="found a model that it starts from or learns from; name another"):
        train_micro(phantom_slices, teachers[0], flag, teachers[0])


def test_the_card_says_who_taught_the_model_and_counts_their_hours(teachers, phantom_slices, tmp_path):
    result = run_ladnn(
        *("train", "--dataset", phantom_slices, "--output_dir", tmp_path / "run", *MICRO, *PLAIN),
        *("--max_steps", "2", "--teachers", *teachers),
    )
    assert result.returncode == 0, result.stderr
    path = tmp_path / "run" / "metrics.json"
    metrics = json.loads(path.read_text())
    told = [json.loads((tmp_path / teacher / "metrics.json").read_text()) for teacher in teachers]
    assert [run["train_seconds"] for run in metrics["taught_by"]] == [run["train_seconds"] for run in told]
    for run, hours in zip((metrics, *metrics["taught_by"]), (1, 2, 4), strict=True):
        run["train_seconds"] = 3600 * hours
    path.write_text(json.dumps(metrics))
    card = run_ladnn("export", "--format", "hf", "--model", tmp_path / "run", "--output", tmp_path / "hf")
    assert card.returncode == 0, card.stderr
    text = (tmp_path / "hf" / "README.md").read_text()
    assert "what 2 models say together" in text and all(run["command"] in text for run in told)
    assert "It took 7.0 hours" in text and "this run and its teachers alone" in text
    path.write_text(json.dumps(metrics | {"cores": None}))  # as on a GPU: what it emitted is not known
    card = run_ladnn("export", "--format", "hf", "--model", tmp_path / "run", "--output", tmp_path / "gpu")
    assert card.returncode == 0, card.stderr
    text = (tmp_path / "gpu" / "README.md").read_text()
    assert "It took 7.0 hours" in text and "kWh" not in text

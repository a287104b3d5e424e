import json
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import MICRO_SIZE, run_ladnn
from datasets import load_from_disk
from PIL import Image, ImageDraw, ImageOps
from safetensors.torch import load_file, save_file

from ladnn_hf import LaDnnConfig, LaDnnForImageClassification, Predictor, draw_phantom
from ladnn_hf.altered_slices import altered
from ladnn_hf.checkpoints import load_checkpoint
from ladnn_hf.gate import fit_saved_gate
from ladnn_hf.lungs_ladnn import find_lungs
from ladnn_hf.model_folder import BUNDLED


def noise(size=128):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8))


def page_of_text():
    page = Image.new("L", (300, 400), 255)
    ImageDraw.Draw(page).multiline_text((20, 20), "\n".join(["No acute findings in the chest. " * 2] * 24))
    return page


def rings(size=128):
    """Smooth, grey and no slice: the simple checks let it pass."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return Image.fromarray((127 + 127 * np.sin(12 * np.hypot(x, y))).astype(np.uint8))


@pytest.fixture
def fitted(micro_folder, phantom_slices):
    """The micro model with a gate that was fitted on phantoms."""
    fit_saved_gate(micro_folder, str(phantom_slices))
    return micro_folder


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (Image.new("L", (64, 64), 90), "found a blank picture"),
        (Image.radial_gradient("L").convert("RGB").point([*range(256)] * 2 + [0] * 256), "found a coloured"),
        (noise(), "found fine structure"),
        (page_of_text(), "found fine structure"),
    ],
)
def test_what_simple_checks_find_is_refused_before_any_gate_is_fitted(micro_folder, picture, sentence):
    answer = Predictor(micro_folder)(picture)
    assert answer.decision == "refused" and sentence in answer.reason
    assert answer.label is answer.covid_probability is answer.lesions is None
    assert Predictor(micro_folder, gate=False)(picture).decision != "refused"


def test_a_slice_with_a_drawn_arrow_is_no_coloured_picture(micro_folder, phantom):
    marked = phantom.convert("RGB")
    ImageDraw.Draw(marked).line((10, 10, 40, 40), fill="red", width=3)
    assert Predictor(micro_folder)(marked).decision != "refused"


def test_a_fitted_gate_answers_slices_and_refuses_what_is_unlike_them(fitted):
    predictor = Predictor(fitted)
    slices = [draw_phantom(["GGO"] * (seed % 2), size=MICRO_SIZE, seed=300 + seed) for seed in range(12)]
    # A limit on 8 slices is no better than that.
    assert sum(answer.decision == "refused" for answer in predictor.predict(slices)) <= 3
    answer = predictor(rings())
    assert answer.decision == "refused"
    assert "unlike those that the model has learned from (distance " in answer.reason
    assert "limit 1.00)" in answer.reason
    assert Predictor(fitted, gate=False)(rings()).decision != "refused"


def test_an_inverted_slice_is_refused_and_called_so(fitted):
    slice_ = draw_phantom([], size=MICRO_SIZE, seed=301)
    answer = Predictor(fitted)(ImageOps.invert(slice_))
    assert answer.decision == "refused" and "found an inverted picture" in answer.reason


def test_refusals_keep_their_places_in_a_batch(fitted):
    slice_ = draw_phantom([], size=MICRO_SIZE, seed=301)
    pictures = [rings(), slice_, noise(), slice_, ImageOps.invert(slice_)]
    predictor = Predictor(fitted)
    together = list(predictor.predict(pictures))
    assert [answer.reason for answer in together] == [predictor(picture).reason for picture in pictures]
    assert [answer.decision == "refused" for answer in together] == [True, False, True, False, True]
    assert together[1].covid_probability == together[3].covid_probability


def test_the_distance_is_below_1_for_slices_and_above_for_others(fitted):
    network, processor = load_checkpoint(fitted)
    slices = [draw_phantom([], size=MICRO_SIZE, seed=400 + seed) for seed in range(6)]
    with torch.no_grad():
        near = network(**processor(slices, return_tensors="pt")).distance
        far = network(**processor([rings(), noise()], return_tensors="pt")).distance
    assert near.shape == (6,) and 0 <= near.min() and near.median() < 1
    assert far.min() > max(1, near.max(), 2 * near.median())


def test_slices_in_a_window_that_none_was_learned_in_are_near(fitted):
    network, processor = load_checkpoint(fitted)
    slices = [draw_phantom([], size=MICRO_SIZE, seed=400 + seed) for seed in range(6)]
    brighter = [slice_.point(lambda grey: 255 * (grey / 255) ** 0.7) for slice_ in slices]
    with torch.no_grad():
        assert network(**processor(brighter, return_tensors="pt")).distance.median() < 1


def test_before_it_is_fitted_every_distance_is_0_and_nothing_is_limited(micro_model):
    answer = micro_model(torch.randn(3, 3, MICRO_SIZE, MICRO_SIZE))
    assert answer.distance.tolist() == [0, 0, 0]
    assert micro_model.config.max_distance is None


def test_a_checkpoint_from_before_the_gate_loads_and_limits_nothing(fitted):
    weights = load_file(fitted / "model.safetensors")
    older = {name: tensor for name, tensor in weights.items() if not name.startswith("slice_distance.")}
    assert len(older) == len(weights) - 5
    save_file(older, fitted / "model.safetensors", metadata={"format": "pt"})
    network, _ = load_checkpoint(fitted)
    assert network(torch.randn(2, 3, MICRO_SIZE, MICRO_SIZE)).distance.tolist() == [0, 0]


def test_a_fitted_gate_is_saved_with_the_weights_and_in_the_export(fitted, tmp_path, phantom):
    exported = tmp_path / "exported"
    result = run_ladnn("export", "--format", "onnx", "--model", fitted, "--output", exported)
    assert result.returncode == 0, result.stderr
    pictures = [phantom, rings()]
    for by_torch, by_onnx in zip(
        Predictor(fitted).predict(pictures), Predictor(exported).predict(pictures), strict=True
    ):
        assert by_onnx.reason == by_torch.reason
    assert by_onnx.decision == "refused"


def test_training_fits_the_gate_and_records_it(phantom_slices, tmp_path):
    run = tmp_path / "run"
    result = run_ladnn(
        *("train", "--dataset", phantom_slices, "--output_dir", run, "--backbone", "test_efficientnet"),
        *("--backbone_weights", "none", "--image_size", MICRO_SIZE, "--num_train_epochs", 1),
    )
    assert result.returncode == 0, result.stderr
    limit = json.loads((run / "config.json").read_text())["max_distance"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["max_distance"] == limit == 1 and metrics["validation"]["refused_share"] <= 0.25
    assert Predictor(run)(rings()).decision == "refused"


@pytest.mark.parametrize("limit", [0, -1.0, "far"])
def test_a_limit_that_is_none_is_named(micro_folder, limit, phantom):
    path = micro_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_distance": limit}))
    with pytest.raises(ValueError, match="expected max_distance to be a number above 0, found"):
        Predictor(micro_folder)
    if limit != "far":
        with pytest.raises(ValueError, match="expects `max_distance` above 0"):
            LaDnnConfig(max_distance=limit)


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet", "densenet121"])
def test_other_backbones_measure_a_distance_too(backbone):
    network = LaDnnForImageClassification(LaDnnConfig(backbone=backbone, image_size=64)).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, 64, 64)).distance.shape == (2,)
    buffers = sum(tensor.nbytes for tensor in network.slice_distance.buffers())
    assert buffers < 1_000_000


def test_an_altered_slice_has_no_lungs_or_bright_ones():
    slice_ = draw_phantom([], size=256, seed=5)
    inverted, half, without = altered(slice_, np.random.default_rng(0))
    assert np.array_equal(inverted, 255 - np.asarray(slice_))
    assert find_lungs(slice_) is not None and find_lungs(without) is None
    as_it_was = np.asarray(half) == np.asarray(slice_)
    assert as_it_was.mean() == 0.5 and np.array_equal(
        np.asarray(half)[~as_it_was], 255 - np.asarray(slice_)[~as_it_was]
    )


def test_each_half_of_a_slice_is_inverted_at_times():
    slice_, generator = draw_phantom([], size=64, seed=5), np.random.default_rng(0)
    halves = {(np.asarray(altered(slice_, generator)[1]) == np.asarray(slice_)).tobytes() for _ in range(40)}
    assert len(halves) == 4


def test_slices_of_either_source_are_near_where_the_gate_was_fitted_on_two(
    micro_folder, phantom_slices, tmp_path
):
    """Whose greys differ so much that what lies between them is no slice of either."""
    dim = load_from_disk(phantom_slices).map(
        lambda row: {"image": row["image"].point(lambda grey: grey // 3)}
    )
    dim.save_to_disk(tmp_path / "dim")
    fit_saved_gate(micro_folder, str(phantom_slices), str(tmp_path / "dim"))
    network, processor = load_checkpoint(micro_folder)
    assert network.config.gate_sources == 3
    slices = [draw_phantom([], size=MICRO_SIZE, seed=400 + seed) for seed in range(6)]
    dim_slices = [slice_.point(lambda grey: grey // 3) for slice_ in slices]
    with torch.no_grad():
        near, dim_near, between = (
            network(**processor(pictures, return_tensors="pt")).distance
            for pictures in (
                slices,
                dim_slices,
                [slice_.point(lambda grey: 0.45 * grey) for slice_ in slices],
            )
        )
    assert near.median() < 1 and dim_near.median() < 1 < between.median()


def test_a_rare_class_of_one_source_takes_nothing_from_the_others(micro_folder, phantom_slices, tmp_path):
    rare = load_from_disk(phantom_slices)
    labels = np.array(rare["train"]["label"])
    kept = [*np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[0]]
    rare["train"] = rare["train"].select(kept)
    rare.save_to_disk(tmp_path / "rare")
    fit_saved_gate(micro_folder, str(phantom_slices), str(tmp_path / "rare"))
    assert load_checkpoint(micro_folder)[0].config.gate_sources == 3


def test_a_source_of_few_slices_shares_the_gaussian_of_the_others(micro_folder, phantom_slices, tmp_path):
    few = load_from_disk(phantom_slices)
    few["train"] = few["train"].select(range(3))
    few.save_to_disk(tmp_path / "few")
    fit_saved_gate(micro_folder, str(phantom_slices), str(tmp_path / "few"))
    network, processor = load_checkpoint(micro_folder)
    assert network.config.gate_sources == 1
    with torch.no_grad():
        slice_ = draw_phantom([], size=MICRO_SIZE, seed=400)
        assert network(**processor(slice_, return_tensors="pt")).distance.isfinite()


def test_a_gate_is_not_fitted_without_slices_to_put_its_limit_on(micro_folder, phantom_slices, tmp_path):
    slices = load_from_disk(phantom_slices)
    del slices["validation"]
    slices.save_to_disk(tmp_path / "train_alone")
    with pytest.raises(ValueError, match=r"Expected a split validation in one of .*, found none; add one"):
        fit_saved_gate(micro_folder, str(tmp_path / "train_alone"))


@pytest.mark.parametrize(("times", "refused"), [(1.4, True), (1.45, False)])
def test_a_picture_without_lungs_is_answered_only_well_within_the_limit(tmp_path, times, refused):
    without = altered(draw_phantom([], size=256, seed=5), np.random.default_rng(0))[2]
    reason = Predictor()(without).reason
    assert "found a picture with no lungs to be seen, unlike those" in reason
    distance = float(re.search(r"distance ([\d.]+)", reason)[1])
    model = shutil.copytree(BUNDLED, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_distance": times * distance}))
    assert (Predictor(model)(without).decision == "refused") == refused


@pytest.mark.real_data
def test_true_slices_pass_the_bundled_gate(covid_ct):
    validation = load_from_disk(covid_ct)["validation"]
    answers = list(Predictor().predict(row["image"] for row in validation))
    assert sum(answer.decision == "refused" for answer in answers) <= 0.02 * len(answers)

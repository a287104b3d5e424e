"""One network of several runs: the mean of their weights.

A "model soup" (Wortsman et al., ICML 2022, arXiv 2203.05482): what one run learned of its own chance order is
averaged away, at the cost of one network when it answers.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.optim.swa_utils import AveragedModel, update_bn
from tqdm import tqdm

from .checkpoints import load_checkpoint
from .image_processing_ladnn import LaDnnImageProcessor
from .modeling_ladnn import LaDnnForImageClassification
from .run_metrics import read_metrics, seeds_of


def average_weights(runs: Sequence[str]) -> tuple[LaDnnForImageClassification, LaDnnImageProcessor]:
    """The network with the mean of the runs' weights, whose batch statistics are yet to be taken.

    Returns:
        It and the processor of the runs.

    Raises:
        ValueError: There is no such run, or two differ in more than their weights.
    """
    first, processor = load_checkpoint(runs[0])
    averaged = AveragedModel(first)
    for run in runs:
        network, other = load_checkpoint(run)
        for name in ("backbone", "image_size", "num_channels", "gate_sources"):
            expected, found = getattr(first.config, name), getattr(network.config, name)
            if found != expected:
                raise ValueError(
                    f"{run}: expected {name} {expected} as of {runs[0]}, found {found}; average runs of one "
                    "recipe."
                )
        if other.to_dict() != processor.to_dict():
            raise ValueError(
                f"{run}: expected the image processor of {runs[0]}, found another; average runs of one "
                "recipe."
            )
        averaged.update_parameters(network)
    return averaged.module, processor


def averaged_runs(runs: Sequence[str], trained_on: list[str]) -> list[dict[str, Any]]:
    """What the runs of an average say of themselves: `command`, `seed`, `train_seconds`, `device`, `cores`.

    Args:
        runs: Folders that `ladnn train` wrote.
        trained_on: The names of the data sets that they are said to have learned from.

    Raises:
        ValueError: There is one run alone, a folder is not a run's, or of other data sets or another recipe,
            or two runs have one seed.
    """
    if len(runs) == 1:  # its own batch statistics, taken anew, are no better than those it has
        raise ValueError(f"Expected several runs for --average, found {runs[0]} alone; name more than one.")
    told = list(map(read_metrics, seeds_of(runs).values()))
    for run, metrics in zip(runs, told, strict=True):
        if metrics["trained_on"] != trained_on:
            raise ValueError(
                f"{run}: expected a run on {trained_on}, found one on {metrics['trained_on']}; give its data "
                "sets to --dataset and --also."
            )
        recipe, first = metrics.get("recipe"), told[0].get("recipe")
        if recipe != first:
            raise ValueError(
                f"{run}: expected the recipe {first} of {runs[0]}, found {recipe}; average runs of one "
                "recipe."
            )
    names = ("command", "seed", "train_seconds", "device", "cores")
    return [{name: metrics.get(name) for name in names} for metrics in told]


def take_batch_statistics(network: LaDnnForImageClassification, batches: Iterable[dict[str, Tensor]]) -> None:
    """Set the statistics of batch normalisation to those of an epoch of training batches, in place."""
    bar = tqdm(batches, desc="batch statistics", unit="batch", delay=2, disable=None)
    update_bn((batch["pixel_values"] for batch in bar), network, network.device)

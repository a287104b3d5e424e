"""Runs of several seeds, and the one model that averages them: `ladnn train --seeds`."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import TrainingArguments

from .hub import check_push
from .recipes import SliceArguments, parse_arguments
from .run_metrics import read_metrics
from .training import check_output, recorded_command, train


def train_seeds(slices: SliceArguments, arguments: TrainingArguments, argv: list[str]) -> dict[str, Any]:
    """Train a run with each seed, one after another in `seed_N` of the folder, and average them there.

    Each run is what `ladnn train --seed` makes alone, and records that command; the average alone is pushed.
    With `--resume_from_checkpoint True` those that ended are kept, and the one that was stopped goes on.

    Args:
        slices: With `seeds`.
        arguments: `Trainer`'s own.
        argv: The flags as given, recorded in the average's `metrics.json`.

    Returns:
        What the average's `metrics.json` holds.

    Raises:
        ValueError: There are fewer than two seeds, one comes twice, other flags do not go with several, or as
            `train` does.
    """
    output, seeds = Path(arguments.output_dir), slices.seeds
    if len(set(seeds)) != len(seeds) or len(seeds) < 2:
        raise ValueError(
            f"Expected two or more different seeds for --seeds, found {' '.join(map(str, seeds))}; give one "
            "alone to --seed."
        )
    if slices.average:
        raise ValueError("Expected --seeds or --average, found both; leave one out.")
    if arguments.world_size > 1:
        raise ValueError(
            f"Expected one process for --seeds, found {arguments.world_size}; train each seed by a command "
            "of its own, and --average the runs."
        )
    resume = str(arguments.resume_from_checkpoint or False).lower()
    if resume not in ("true", "false"):
        raise ValueError(
            f"Expected --resume_from_checkpoint True with --seeds, found {arguments.resume_from_checkpoint}; "
            "each run goes on from its own newest checkpoint."
        )
    check_output(output, slices)
    if arguments.push_to_hub:  # before anything is trained for it
        check_push(arguments.hub_model_id or "", "model", arguments.hub_private_repo is False)
    runs = {seed: str(output / f"seed_{seed}") for seed in seeds}
    shared = _without(argv, ("seeds", "seed", "output_dir", "resume_from_checkpoint", "push_to_hub"))
    for number, (seed, run) in enumerate(runs.items(), start=1):
        own = [*shared, "--seed", str(seed), "--output_dir", run]
        if resume == "true" and _ended(run, recorded_command(own)):
            print(f"ladnn: {run}: run {number} of {len(runs)}, which had ended.", file=sys.stderr)
            continue
        print(f"ladnn: {run}: run {number} of {len(runs)}.", file=sys.stderr)
        going_on = ["--resume_from_checkpoint", "True"] if resume == "true" and Path(run).is_dir() else []
        train(*parse_arguments([*own, *going_on]), own)
    mean = _without(argv, ("seeds", "resume_from_checkpoint", "model", "teachers"))
    return train(*parse_arguments([*mean, "--average", *runs.values()]), argv)


def _without(argv: list[str], flags: Iterable[str]) -> list[str]:
    """The words of a command without those of some flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in flags:
        # Of both spellings, as HfArgumentParser takes them.
        parser.add_argument(*{f"--{flag}", f"--{flag.replace('_', '-')}"}, nargs="*")
    return parser.parse_known_args(argv)[1]


def _ended(run: str, command: str) -> bool:
    """Whether a run of this command has written its numbers and, after them, its model whole."""
    try:
        if read_metrics(run)["command"] != command:
            return False
        with safe_open(Path(run) / "model.safetensors", "np"):
            return True
    except (ValueError, OSError, SafetensorError):
        return False

"""What training runs wrote of themselves, `metrics.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_WRITTEN = {"command", "seed", "trained_on", "validation"}
"""What others read of it."""


def read_metrics(run: str) -> dict[str, Any]:
    """What a training run wrote of itself.

    Raises:
        ValueError: The folder is not a run's.
    """
    path = Path(run) / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(metrics, dict) or not metrics.keys() >= _WRITTEN:
            raise ValueError("not what `ladnn train` writes")
        return metrics
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{run}: expected a folder that `ladnn train` wrote, found no metrics.json that can be read; "
            "name a run's folder."
        ) from error


def seeds_of(runs: Sequence[str]) -> dict[int, str]:
    """Runs of one recipe by their seeds.

    Raises:
        ValueError: Two runs have the same seed, or a folder is not a run's.
    """
    by_seed: dict[int, str] = {}
    for run in runs:
        seed = read_metrics(run)["seed"]
        if seed in by_seed:
            raise ValueError(
                f"{run}: expected runs of different seeds, found the seed {seed} of {by_seed[seed]} again; "
                "name one of the two."
            )
        by_seed[seed] = run
    return by_seed

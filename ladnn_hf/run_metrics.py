"""What a training run wrote of itself, `metrics.json`."""

import json
from pathlib import Path
from typing import Any


def read_metrics(run: str) -> dict[str, Any]:
    """What a training run wrote of itself.

    Raises:
        ValueError: The folder is not a run's.
    """
    path = Path(run) / "metrics.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{run}: expected a folder that `ladnn train` wrote, found no metrics.json that can be read; "
            "name a run's folder."
        ) from error

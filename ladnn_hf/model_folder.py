"""What the files in a model folder say; the standard library alone, since every answer begins here."""

import hashlib
import json
from pathlib import Path
from typing import Any

BUNDLED = Path(__file__).parent / "weights"
"""Folder of the checkpoint that the package carries."""
WEIGHTS = "model.safetensors"
ONNX = "model.onnx"
OPENVINO = "openvino_model.xml"
"""With `openvino_model.bin` beside it: the names by which others know OpenVINO's own format."""
REMEDY = "give a folder that `ladnn train` or save_pretrained wrote"


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object that a model folder must hold.

    Raises:
        ValueError: There is no such file, or it holds something else.
    """
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{folder}: expected a model folder with {name}, found no such file; {REMEDY}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, found something else ({error}); {REMEDY}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(content).__name__}; {REMEDY}.")
    return content


def read_report(folder: Path) -> dict[str, Any]:
    """The folder's `report.json`, empty where there is none.

    It is what `ladnn evaluate` writes, or one such report a split beside `training`, as the bundled
    checkpoint has it.
    """
    return read_json(folder, "report.json") if (folder / "report.json").is_file() else {}


def scored_on(report: dict[str, Any], split: str) -> dict[str, Any] | None:
    """What a report says of a split; None where it says nothing of it."""
    return report if report.get("split") == split else report.get(split)


def read_training(folder: Path) -> dict[str, Any] | None:
    """What `ladnn train` wrote of the run: the folder's `metrics.json`, else what its report keeps of it."""
    if (folder / "metrics.json").is_file():
        return read_json(folder, "metrics.json")
    return read_report(folder).get("training")


def found_instead(folder: Path) -> str:
    """What a folder without weights holds in their place, in words."""
    names = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth"))
    return f"only pickled weights ({', '.join(names)}), which are never loaded" if names else "none"


def weights_sha256(folder: Path) -> str | None:
    """The sha256 of the weights in a folder; None where it holds an export alone."""
    path = folder / WEIGHTS
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def provenance(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """What an export must agree with: the temperature, and the weights' sha256 where they are there."""
    facts = {"temperature": json.dumps(float(config.get("temperature", 1.0)))}
    if digest := weights_sha256(folder):
        facts["weights_sha256"] = digest
    return facts

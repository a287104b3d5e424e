"""The honest score of a model on a split: every number with its interval and its coverage."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .engines import WEIGHTS
from .inference import BUNDLED, Predictor
from .labels import LESIONS
from .metrics import RESAMPLES, decision_metrics, lesion_metrics, probability_metrics, to_json, with_intervals
from .slice_dataset import load_slices, to_lesion_labels, values_of

REFUSED_PROBABILITY = 0.5
"""What a true slice counts as when it was refused."""


def evaluate(model: str | None, dataset: str, split: str = "test") -> dict[str, Any]:
    """Score a model folder (None: the bundled checkpoint) on one split of a slice data set.

    Returns:
        `model`, `weights_sha256`, `dataset`, `split`, `slices`, `refused`, `threshold`, `versions`, and
        the numbers of the `probabilities`, of the decisions `at_threshold` and `at_0.5`, and of the
        `lesions`, each as `[value, low, high]`, a 95% bootstrap interval.

    Raises:
        ValueError: There is no such model, data set or split.
    """
    splits = load_slices(dataset)
    if split not in splits:
        raise ValueError(f"{dataset}: expected a split {split}, found {sorted(splits)}; name one of these.")
    rows = splits[split]
    predictor = Predictor(model)
    pictures = (row["image"] for row in rows.select_columns("image"))
    answers = list(
        tqdm(predictor.predict(pictures), total=len(rows), desc=f"{split} split", unit="slice", delay=2)
    )
    labels = np.array(rows["label"])
    covid = np.array(
        [REFUSED_PROBABILITY if a.covid_probability is None else a.covid_probability for a in answers]
    )
    lesions = np.array(
        [[a.lesions[name] if a.lesions else REFUSED_PROBABILITY for name in LESIONS] for a in answers]
    )
    labelled = to_lesion_labels(values_of(rows, "lesions"))
    weights = (Path(model) if model else BUNDLED) / WEIGHTS
    return {
        "model": predictor.name,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else None,
        "dataset": Path(dataset).name,
        "split": split,
        "slices": len(rows),
        "refused": sum(a.decision == "refused" for a in answers),
        "threshold": predictor.threshold,
        "probabilities": with_intervals(probability_metrics, labels, covid),
        "at_threshold": with_intervals(decision_metrics, labels, covid >= predictor.threshold),
        "at_0.5": with_intervals(decision_metrics, labels, covid >= 0.5),
        "lesions": _lesions_with_intervals(labelled, lesions),
        "versions": {name: version(name) for name in ("ladnn_hf", "onnxruntime", "pillow", "numpy")},
    }


def write_report(report: dict[str, Any], output: Path) -> None:
    """Write `report.json` and `report.md` into a folder."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.json").write_text(to_json(report))
    (output / "report.md").write_text(to_markdown(report))


def to_markdown(report: dict[str, Any]) -> str:
    """The report as a page for people."""
    lines = [
        f"# {report['model']} on {report['dataset']}, {report['split']} split",
        "",
        f"{report['slices']} slices, {report['refused']} refused (each counted as "
        f"{REFUSED_PROBABILITY}). In brackets: 95% intervals of {RESAMPLES} bootstrap resamples.",
        "",
        f"| | at the operating point {report['threshold']:.3f} | at 0.5 |",
        "|---|---|---|",
    ]
    for name, numbers in report["probabilities"].items():
        lines.append(f"| {name} | {_interval(numbers)} | |")
    for name, numbers in report["at_threshold"].items():
        lines.append(f"| {name} | {_interval(numbers)} | {_interval(report['at_0.5'][name])} |")
    lines += ["", "| lesion | AUC | present | labelled |", "|---|---|---|---|"]
    for name, numbers in report["lesions"].items():
        lines.append(
            f"| {name} | {_interval(numbers['auc'])} | {numbers['present']} | {numbers['labelled']} |"
        )
    return "\n".join(lines) + "\n"


def _lesions_with_intervals(lesion_labels: np.ndarray, lesions: np.ndarray) -> dict[str, dict[str, Any]]:
    answers = lesion_metrics(lesion_labels, lesions)
    for column, numbers in enumerate(answers.values()):
        labelled = ~np.isnan(lesion_labels[:, column])
        present, scores = lesion_labels[labelled, column], lesions[labelled, column]
        numbers["auc"] = (
            [np.nan] * 3
            if np.isnan(numbers["auc"])
            else with_intervals(probability_metrics, present, scores)["auc"]
        )
    return answers


def _interval(numbers: list[float | None]) -> str:
    value, low, high = numbers
    return "not validated" if value is None or np.isnan(value) else f"{value:.3f} ({low:.3f}–{high:.3f})"

"""The honest score of a model on a split: every number with its interval and its coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from datasets import DatasetDict

from .answer_scores import read_answers
from .evaluation_figures import FIGURES, write_figures
from .inference import Predictor
from .metrics import (
    BINS,
    LESION_PATIENTS,
    RESAMPLES,
    calibration_error_by_chance,
    decision_metrics,
    interval,
    lesion_scores,
    operating_points,
    probability_metrics,
    share,
    to_json,
    with_intervals,
)
from .model_folder import read_json, read_training, weights_sha256
from .model_pull import model_folder
from .rendering import render
from .run_metrics import read_metrics, seeds_of
from .run_scores import (
    ablation,
    check_pairs,
    score_left_out,
    score_lesion_folds,
    score_seeds,
    spread,
)
from .score_table import Scored, audited_rows, changed_rows, external_row, official_row, ungated_rows
from .slice_dataset import load_slices, patient_numbers, to_lesion_labels, values_of
from .slice_scores import REFUSED_PROBABILITY, SliceScores, score_slices
from .slice_tables import HUB

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Evaluation:
    """A report, and the answers that its figures are drawn from."""

    report: dict[str, Any]
    """See `evaluate`."""
    labels: np.ndarray
    """(N,), 0 or 1."""
    scores: SliceScores
    """What the model said of the N slices of the split."""
    patients: np.ndarray
    """(N,), see `patient_numbers`."""


def evaluate(
    model: str | None,
    dataset: str,
    split: str = "test",
    *,
    external: Sequence[str] = (),
    runs: Sequence[str] = (),
    without_lesions: Sequence[str] = (),
    left_out: Sequence[tuple[str, str]] = (),
    lesion_folds: Sequence[tuple[str, str]] = (),
) -> Evaluation:
    """Score a model folder on one split of a slice data set, and beside it what the score may rest on.

    Args:
        model: A model folder, or `OWNER/NAME@REVISION` on the Hub; None for the bundled checkpoint.
        dataset: Folder of the data set.
        split: The split to score.
        external: Folders of other data sets; their rows say whether the model learned from the train split.
        runs: Folders of training runs of the model's recipe, with different seeds.
        without_lesions: Folders of runs of the same recipe and seeds without the lesion task.
        left_out: (run, data set): runs, each with the folder of a data set that it was not trained on.
        lesion_folds: (run, data set): runs, each with a data set whose split `test` holds patients that only
            the other runs have seen.

    Returns:
        The answers, and the report: `model`, `weights_sha256`, `dataset`, `split`, `slices`, what is
        `resampled`, `refused`, `indeterminate`, `threshold`, `temperature`, `indeterminate_band`, `versions`;
        the numbers of the `probabilities`, of what was `decided`, of the decisions `at_threshold` and
        `at_0.5`, and of the `lesions` and `lesion_folds`, each as `[value, low, high]`, a 95% bootstrap
        interval; `ece_by_chance`, see `metrics.calibration_error_by_chance`; `rows`, see `score_table`;
        `operating_points`, see `metrics`; `runs`, see `run_scores.spread`; `ablation` and `left_out`, see
        there; the `lesion_fold_runs`, each `run` with the command that `trained` it and its `dataset`; what
        `training` wrote of itself.

    Raises:
        ValueError: There is no such model, data set, split or run, or runs do not go together.
    """
    splits = load_slices(dataset)
    if split not in splits:
        raise ValueError(f"{dataset}: expected a split {split}, found {sorted(splits)}; name one of these.")
    pairs = (*left_out, *lesion_folds)
    others = {path: load_slices(path) for path in (*external, *(path for _, path in pairs))}
    by_seed, by_seed_without = seeds_of(runs), seeds_of(without_lesions)
    check_pairs(by_seed, by_seed_without)
    for run, _ in pairs:
        read_metrics(run)  # what is no run is refused before the long work, not after it
    for run, path in left_out:
        if Path(path).name in read_metrics(run)["trained_on"]:
            raise ValueError(
                f"{path}: expected a data set that {run} has not learned from, found it among those that it "
                "has; name another."
            )
    for _, path in lesion_folds:
        if "test" not in others[path]:
            raise ValueError(
                f"{path}: expected a fold as the split test, found {sorted(others[path])}; make it with "
                "benchmarks/lesion_folds.py."
            )
    rows, folder = splits[split], model_folder(model, whole=True)
    predictor = Predictor(model)
    scores = score_slices(predictor, rows, f"{split} split")
    scored = Scored(rows, np.array(rows["label"]), scores, patient_numbers(values_of(rows, "patient_id")))
    with_lesions = score_seeds(by_seed, rows)
    facts = _facts(predictor, folder, dataset, split, scored, to_lesion_labels(values_of(rows, "lesions")))
    learned = (facts["training"] or {}).get("trained_on", [])
    report = facts | {
        "lesion_folds": score_lesion_folds([(run, others[path]) for run, path in lesion_folds]),
        "lesion_fold_runs": [
            {"run": Path(run).name, "trained": read_metrics(run)["command"], "dataset": Path(path).name}
            for run, path in lesion_folds
        ],
        "rows": _rows(scored, splits, split, predictor, predictor.without_gate())
        + [external_row(path, others[path], predictor, Path(path).name in learned) for path in external],
        "runs": spread(with_lesions),
        "ablation": ablation(with_lesions, score_seeds(by_seed_without, rows)),
        "left_out": [score_left_out(run, path, others[path]) for run, path in left_out],
    }
    return Evaluation(report, scored.labels, scores, scored.patients)


def evaluate_answers(model: str | None, answers: Path, dataset: str, split: str = "test") -> Evaluation:
    """Score what `ladnn predict` has answered, maybe by many processes, without asking the model again.

    Args:
        model: The model that answered, as `evaluate` takes it.
        answers: JSON lines, an answer for each row.
        dataset: What was answered; see `read_answers`.
        split: The split of it; of Parquet files, what the report calls their rows.

    Returns:
        As `evaluate` does, with the row of the split as it is alone: the others ask about changed slices.

    Raises:
        ValueError: There is no such model or data set, or the answers are not of these.
    """
    predictor = Predictor(model)
    scored, lesions = read_answers(answers, dataset, split, predictor.name, predictor.threshold)
    report = _facts(predictor, model_folder(model, whole=True), dataset, split, scored, lesions)
    nothing = {"lesion_folds": None, "lesion_fold_runs": [], "runs": None, "ablation": None, "left_out": []}
    report |= {"rows": [official_row(scored, split)], **nothing}
    return Evaluation(report, scored.labels, scored.scores, scored.patients)


def _facts(
    predictor: Predictor, folder: Path, dataset: str, split: str, scored: Scored, lesions: np.ndarray
) -> dict[str, Any]:
    """What a report says of a model's answers to a split as it is."""
    labels, scores = scored.labels, scored.scores
    return {
        "model": Path(predictor.name).name if Path(predictor.name).is_absolute() else predictor.name,
        "weights_sha256": weights_sha256(folder),
        "dataset": dataset.removeprefix(HUB) if dataset.startswith(HUB) else Path(dataset).name,
        "split": split,
        "slices": len(labels),
        "resampled": "patients",
        "refused": scores.count("refused"),
        "indeterminate": scores.count("indeterminate"),
        "threshold": predictor.threshold,
        "temperature": read_json(folder, "config.json").get("temperature", 1.0),
        "indeterminate_band": predictor.band,
        **_numbers(scored, predictor.threshold),
        "ece_by_chance": calibration_error_by_chance(scores.covid, scored.patients),
        "operating_points": operating_points(labels, scores.covid),
        "lesions": lesion_scores(lesions, scores.lesions, scored.patients),
        "training": read_training(folder),
        "versions": {name: version(name) for name in ("ladnn_hf", predictor.engine, "pillow", "numpy")},
    }


def write_report(evaluation: Evaluation, output: Path) -> None:
    """Write `report.json`, `report.md` and its figures into a folder."""
    output.mkdir(parents=True, exist_ok=True)
    report, scores = evaluation.report, evaluation.scores
    write_figures(report, evaluation.labels, scores.covid, scores.lesions, evaluation.patients, output)
    (output / "report.json").write_text(to_json(report), encoding="utf-8")
    (output / "report.md").write_text(to_markdown(report), encoding="utf-8")


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report as a page for people."""
    return _render("report.md.jinja", report, heading="##", figures=FIGURES)


def to_body(report: Mapping[str, Any]) -> str:
    """The page without title, training and figures, for a chapter of a model's card."""
    return _render("report_body.md.jinja", report, heading="###")


def to_tables(report: Mapping[str, Any]) -> str:
    """The tables of the page alone: the numbers, the rows and the lesions."""
    return _render("score_tables.md.jinja", report)


def _render(template: str, report: Mapping[str, Any], **more: Any) -> str:
    facts = {"refused": REFUSED_PROBABILITY, "resamples": RESAMPLES, "bins": BINS}
    facts |= {"lesion_patients": LESION_PATIENTS, "above_chance": _above_chance}
    words = {"number": _number, "lesion": _lesion, "count": _count}
    return render(_TEMPLATES, template, report=report, **facts, **words, **more)


def _rows(
    scored: Scored, splits: DatasetDict, split: str, predictor: Predictor, ungated: Predictor
) -> list[dict[str, Any]]:
    cleaned, file_only = audited_rows(scored, splits, split)
    return [
        official_row(scored, split),
        cleaned,
        *changed_rows(scored, predictor),
        file_only,
        *ungated_rows(scored, ungated),
    ]


def _numbers(scored: Scored, threshold: float) -> dict[str, dict[str, list[float]]]:
    labels, patients = scored.labels, scored.patients
    covid, decided = scored.scores.covid, scored.scores.decided
    right = labels == (scored.scores.decisions == "positive")
    return {
        "probabilities": with_intervals(probability_metrics, labels, covid, patients=patients),
        "decided": {
            "share": interval(share, decided, np.ones_like(decided), patients=patients),
            "accuracy": interval(share, right, decided, patients=patients),
        },
        "at_threshold": with_intervals(decision_metrics, labels, covid >= threshold, patients=patients),
        "at_0.5": with_intervals(decision_metrics, labels, covid >= 0.5, patients=patients),
    }


def _number(numbers: Sequence[float | None], missing: str = "not validated") -> str:
    value, low, high = (np.nan if number is None else number for number in numbers)
    if np.isnan(value):
        return missing
    text = f"{value:z.3f}" if np.isnan(low) else f"{value:z.3f} ({low:z.3f} to {high:z.3f})"
    return text.replace("-", "−")


def _lesion(auc: Sequence[float | None]) -> str:
    text = _number(auc)
    return text if _bounded(auc) or auc[0] is None or np.isnan(auc[0]) else f"{text}, not validated"


def _above_chance(lesions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lesions whose interval lies above an AUC of 0.5."""
    return [name for name, numbers in lesions.items() if _bounded(numbers["auc"]) and numbers["auc"][1] > 0.5]


def _bounded(numbers: Sequence[float | None]) -> bool:
    """Whether a number has an interval."""
    return numbers[1] is not None and not np.isnan(numbers[1])


def _count(slices: int | None) -> str:
    return "" if slices is None else str(slices)

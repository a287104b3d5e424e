"""The rows that stand side by side: a split as it is, cleaned and changed, the file alone, and other data.

A row has `name`, `title`, `slices` that count, how many of the split were `left_out`, `refused` (each counts
as 0.5) and `indeterminate`; whether the `gate` was on; `auc` and `loss` (the AUC of the split as it is, with
the gate on or off as in the row, minus this one, without the slices that the model was not asked about here,
on the same resamples; null where there is nothing to compare) as `[value, low, high]`; what it `shows`; and
the `reason` where it was not measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets
from PIL import Image

from .metrics import auc, calibration_error, decision_metrics, interval, share, with_intervals
from .perturbations import PERTURBATIONS, black_out_lungs, swap_lungs
from .reading import UnreadableSlice, read_slice
from .slice_dataset import SPLITS, patient_numbers, values_of
from .slice_scores import SlicePredictor, SliceScores, picture_of, score_changed, score_slices

_UNGATED = ("ungated", "the split as it is")
_BLACKED_OUT = (
    "lungs_blacked_out",
    "lungs blacked out",
    "Lungs filled with the grey around them: near 0.5, or the model reads something else. A model that crops "
    "to the lungs finds none and is shown the whole slice.",
)
_BOX_BLACKED_OUT = (
    "lungs_box_blacked_out",
    "the lungs' box, lungs blacked out",
    "The same in the box around the lungs: all that this model is shown of a slice with lungs.",
)
_SWAPPED = ("lungs_swapped", "lungs of another slice")
_CLEANED = ("cleaned", "cleaned by the audit")
_FILE_ONLY = ("file_only", "the file alone")
_FILE_COLUMNS = ("file_name", "format", "mode", "width", "height")
_NO_SLICE = ("unreadable", "tiny", "blank", "not_ct")
"""Kinds of findings whose slices the file-only baseline passes over."""


@dataclass(frozen=True)
class Scored:
    """A split, its labels, and what a model says of it as it is."""

    rows: Dataset | None
    """None where only the answers are at hand."""
    labels: np.ndarray
    """(N,), 0 or 1."""
    scores: SliceScores
    patients: np.ndarray
    """(N,), see `patient_numbers`."""


def official_row(scored: Scored, split: str) -> dict[str, Any]:
    """The row of the split as it is."""
    title, shows = f"{split} split", "The slices as they are."
    return _row("official", title, shows, scored, scored.labels, scored.scores, compared=False)


def changed_rows(scored: Scored, predictor: SlicePredictor) -> list[dict[str, Any]]:
    """The rows of slices changed so that their diagnosis stays, in the order of `PERTURBATIONS`."""
    changed = score_changed(
        predictor,
        scored.rows,
        [perturbation.name for perturbation in PERTURBATIONS],
        lambda _, grey: [perturbation.change(grey) for perturbation in PERTURBATIONS],
    )
    return [
        _row(
            perturbation.name,
            perturbation.title,
            perturbation.shows,
            scored,
            scored.labels,
            changed[perturbation.name],
        )
        for perturbation in PERTURBATIONS
    ]


def ungated_rows(scored: Scored, ungated: SlicePredictor) -> list[dict[str, Any]]:
    """The rows without the gate: slices as they are, without lungs, and with lungs of the other class.

    Args:
        scored: The split.
        ungated: The model without its gate, which may refuse a slice without lungs.

    Returns:
        The rows, compared with the first. Without lungs there are two for a model that crops to them: the
        whole slice, and their box alone. The last is scored against the label of the pasted lungs, and has
        `follows_lungs`, the share, as `[value, low, high]`, of pairs with different answers in which the
        answer went with them; its intervals draw the patients of both slices.
    """
    labels, threshold = scored.labels, ungated.threshold
    donors = _donors(labels)
    pictures = scored.rows.select_columns("image")
    scored = replace(scored, scores=score_slices(ungated, scored.rows, "without the gate"))
    of_both = replace(scored, patients=np.column_stack([scored.patients, scored.patients[donors]]))

    without = {_BLACKED_OUT: False} | ({_BOX_BLACKED_OUT: True} if ungated.crop_to_lungs else {})

    def change(number: int, grey: Image.Image) -> list[Image.Image | None]:
        blacked_out = [black_out_lungs(grey, cropped=cropped) for cropped in without.values()]
        return [*blacked_out, _swapped(grey, pictures, donors[number])]

    names = [name for name, *_ in (*without, _SWAPPED)]
    *of_blacked_out, with_others = score_changed(ungated, scored.rows, names, change).values()
    as_it_is = _row(
        *_UNGATED,
        "What the next rows are compared with.",
        scored,
        labels,
        scored.scores,
        compared=False,
        gate=False,
    )
    blacked_out = [
        _row(*row, scored, labels, scores, gate=False)
        for row, scores in zip(without, of_blacked_out, strict=True)
    ]
    swapped = _row(
        *_SWAPPED,
        "Against the label of the pasted lungs: near the AUC of the slices as they are where the answer goes "
        "with the lungs, below 0.5 where it stays with the rest.",
        of_both,
        1 - labels,
        with_others,
        gate=False,
    )
    own, answered = scored.scores.covid >= threshold, ~np.isin(scored.scores.decisions, ("refused", ""))
    other, said = own[donors], with_others.covid >= threshold
    compared = (own != other) & answered & answered[donors] & ~with_others.left_out
    swapped["follows_lungs"] = interval(share, said == other, compared, patients=of_both.patients)
    return [as_it_is, *blacked_out, swapped]


def audited_rows(scored: Scored, slices: DatasetDict, split: str) -> list[dict[str, Any]]:
    """Two rows that an audit gives: the split without what is proved wrong, and the file-only baseline.

    The audit sees the splits up to this one, in the order of `SPLITS`, and others beside it.
    """
    shows_cleaned = (
        "Without the same image in an earlier split or under two labels, captions that contradict "
        "the label, and what is no slice."
    )
    shows_file = "A random forest on suffix, format, mode, width and height: what a model must not need."
    unseen = SPLITS[SPLITS.index(split) + 1 :] if split in SPLITS else ()
    seen = DatasetDict({name: rows for name, rows in slices.items() if name not in unseen})
    try:
        from .audit import audit, exclusions  # here: scoring a model must not need the extra `data`
    except ModuleNotFoundError as error:
        reason = f"the audit needs the package {error.name}, which is not installed"
        return [
            _row_without_model(*_CLEANED, shows_cleaned, reason),
            _row_without_model(*_FILE_ONLY, shows_file, reason),
        ]
    report = audit(seen, split)
    kept = np.ones(len(scored.labels), dtype=bool)
    kept[[number for name, number in exclusions(report) if name == split]] = False
    labels = np.where(kept, scored.labels, np.nan)
    cleaned = _row(*_CLEANED, shows_cleaned, scored, labels, scored.scores)
    return [cleaned, _file_only_row(report, scored.rows, split, shows_file)]


def external_row(path: str, slices: DatasetDict, predictor: SlicePredictor, learned: bool) -> dict[str, Any]:
    """The row of another data set, see `score_external`, with its `ece` and its decisions `at_threshold` too.

    Args:
        path: The data set's folder.
        slices: Its splits.
        predictor: The model.
        learned: Whether the model has learned from the data set's split `train`.
    """
    scored, splits = score_external(path, slices, predictor, learned)
    name = Path(path).name
    row = _row(
        f"external_{name}",
        f"{name}, {_named(splits)}",
        "Held-out slices of a source that it has learned from too."
        if learned
        else "Slices of a source never trained on: another scanner and another share of positives.",
        scored,
        scored.labels,
        scored.scores,
        compared=False,
    )
    labels, covid, drawn = scored.labels, scored.scores.covid, {"patients": scored.patients}
    return row | {
        "splits": splits,
        "ece": interval(calibration_error, labels, covid, **drawn),
        "at_threshold": with_intervals(decision_metrics, labels, covid >= predictor.threshold, **drawn),
    }


def score_external(
    path: str, slices: DatasetDict, predictor: SlicePredictor, learned: bool = False
) -> tuple[Scored, list[str]]:
    """Score the split `test` of another data set, or all it has where there is none; with their names.

    All but the split `train` where that was `learned`.

    Raises:
        ValueError: Nothing is left.
    """
    splits = ["test"] if "test" in slices else [name for name in slices if not (learned and name == "train")]
    if not splits:
        raise ValueError(
            f"{path}: expected a split that the model has not learned from, found train alone; name another "
            "data set."
        )
    patients = patient_numbers(
        [patient for split in splits for patient in values_of(slices[split], "patient_id")]
    )
    rows = concatenate_datasets([slices[split].select_columns(["image", "label"]) for split in splits])
    scores = score_slices(predictor, rows, Path(path).name)
    return Scored(rows, np.array(rows["label"]), scores, patients), splits


def _row(
    name: str,
    title: str,
    shows: str,
    scored: Scored,
    labels: np.ndarray,
    scores: SliceScores,
    *,
    compared: bool = True,
    gate: bool = True,
) -> dict[str, Any]:
    """A row of a split that was `scored` as it is, and may be `compared` with that.

    `labels` are NaN for slices that do not count, and so are those that the model was not asked.
    """
    labels = np.where(scores.left_out, np.nan, labels)
    counts, score = ~np.isnan(labels), interval(auc, labels, scores.covid, patients=scored.patients)
    missing = "its slices are all of one class" if counts.any() else "no slice is left"
    return {
        "name": name,
        "title": title,
        "slices": int(counts.sum()),
        "left_out": int((~counts).sum()),
        "refused": int((scores.decisions[counts] == "refused").sum()),
        "indeterminate": int((scores.decisions[counts] == "indeterminate").sum()),
        "gate": gate,
        "auc": score,
        "loss": _loss(scored, labels, scores) if compared else None,
        "shows": shows,
        "reason": missing if np.isnan(score[0]) else None,
    }


def _loss(scored: Scored, labels: np.ndarray, scores: SliceScores) -> list[float]:
    before = np.where(scores.left_out, np.nan, scored.labels)
    return interval(
        lambda before, after, was, became: auc(before, was) - auc(after, became),
        *(before, labels, scored.scores.covid, scores.covid),
        patients=scored.patients,
    )


def _row_without_model(name: str, title: str, shows: str, reason: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "slices": None,
        "left_out": None,
        "refused": None,
        "indeterminate": None,
        "gate": False,
        "auc": [np.nan] * 3,
        "loss": None,
        "shows": shows,
        "reason": reason,
    }


def _file_only_row(report: dict[str, Any], rows: Dataset, split: str, shows: str) -> dict[str, Any]:
    missing = [name for name in _FILE_COLUMNS if name not in rows.column_names]
    if missing:
        reason = f"the data set does not say what its files were (it has no {', '.join(missing)})"
        return _row_without_model(*_FILE_ONLY, shows, reason)
    scores = report["file_only"]
    if scores is None or scores["scored_on"] != split:
        reason = (
            "it is fitted on train and scored on test or validation, each with both classes and several "
            f"patients, not on {split}"
        )
        return _row_without_model(*_FILE_ONLY, shows, reason)
    faulty = {
        row["row"]
        for finding in report["findings"]
        if finding["kind"] in _NO_SLICE
        for row in finding["rows"]
        if row["split"] == split
    }
    return _row_without_model(*_FILE_ONLY, shows, None) | {
        "slices": len(rows) - len(faulty),
        "left_out": len(faulty),
        "refused": 0,
        "indeterminate": 0,
        "auc": scores["auc"],
    }


def _donors(labels: np.ndarray) -> np.ndarray:
    """For each slice the number of one of the other class, all as often; its own where there is none."""
    generator = np.random.default_rng(0)
    donors = np.arange(len(labels))
    for label in (0, 1):
        others = np.flatnonzero(labels != label)
        if len(others):
            donors[labels == label] = np.resize(generator.permutation(others), (labels == label).sum())
    return donors


def _swapped(grey: Image.Image, pictures: Dataset, donor: int) -> Image.Image | None:
    try:
        return swap_lungs(grey, read_slice(picture_of(pictures, int(donor))))
    except UnreadableSlice:
        return None


def _named(splits: Sequence[str]) -> str:
    return f"{'split' if len(splits) == 1 else 'splits'} {', '.join(splits)}"

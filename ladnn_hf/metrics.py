"""Numbers that say how good answers are, from scikit-learn and scipy, and their intervals."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import DegenerateDataWarning, bootstrap, rankdata
from sklearn import config_context
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_curve
from tqdm import tqdm

from .labels import LESIONS

RESAMPLES = 2000
"""Bootstrap resamples behind each 95% interval."""


BINS = 10
"""Bins of the expected calibration error, each of as many slices as the next."""
_CELLS = 1_000_000
"""Numbers that are resampled together, for speed; more would only fill the memory."""


def auc(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve; NaN where one class is absent and there is nothing to rank.

    It is the Mann-Whitney statistic, from scipy's ranks, over the number of pairs: the same number as
    scikit-learn's, and for thousands of resamples at once.

    Args:
        labels: (..., N), 0, 1, or NaN for a slice that is passed over.
        scores: (..., N); any number, NaN too, where the label is NaN.

    Returns:
        (...), in [0, 1].
    """
    present, absent = labels == 1, labels == 0
    ranks = rankdata(np.where(present | absent, scores, np.inf), axis=-1)  # last is what is passed over
    positives, negatives = present.sum(axis=-1), absent.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        above = (ranks * present).sum(axis=-1) - positives * (positives + 1) / 2
        return above / (positives * negatives)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error in `BINS` bins of equal mass (Naeini et al., AAAI 2015), in [0, 1].

    How far the mean probability of a bin is from its share of positives, on average over the slices; slices
    of equal probability share a bin. Resampling adds to it, so an interval can lie above it.

    Args:
        labels: (N,), 0 or 1.
        probabilities: (N,), in [0, 1].
    """
    # scikit-learn's calibration_curve does not say how many slices are in a bin.
    bins = ((rankdata(probabilities) - 0.5) * BINS / len(probabilities)).astype(int)
    return float(np.abs(np.bincount(bins, probabilities - labels)).sum() / len(probabilities))


def probability_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """How well probabilities of COVID rank and fit: `auc`, `brier` score and `ece`, see `calibration_error`.

    Args:
        labels: (N,), 0 or 1.
        probabilities: (N,), in [0, 1].
    """
    brier = brier_score_loss(labels, probabilities, pos_label=1, labels=[0, 1])
    return {
        "auc": float(auc(labels, probabilities)),
        "brier": float(brier),
        "ece": calibration_error(labels, probabilities),
    }


def decision_metrics(labels: np.ndarray, positive: np.ndarray) -> dict[str, float]:
    """How often decisions are right.

    Args:
        labels: (N,), 0 or 1.
        positive: (N,), whether a slice was called positive.

    Returns:
        `accuracy`, `sensitivity`, `specificity`, `precision` and `f1`; NaN where a number is not defined.
    """
    (tn, fp), (fn, tp) = confusion_matrix(labels, positive, labels=[0, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = {
            "accuracy": np.divide(tp + tn, len(labels)),
            "sensitivity": np.divide(tp, tp + fn),
            "specificity": np.divide(tn, tn + fp),
            "precision": np.divide(tp, tp + fp),
            "f1": np.divide(2 * tp, 2 * tp + fp + fn),
        }
    return {name: float(rate) for name, rate in rates.items()}


def operating_points(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, float]]:
    """What each threshold would give: the points of the ROC curve.

    Args:
        labels: (N,), 0 or 1.
        probabilities: (N,), in [0, 1].

    Returns:
        `threshold`, `sensitivity` and `specificity`, from the highest threshold down; a slice is positive
        from the threshold on. Empty where one class is absent.
    """
    if len(np.unique(labels)) < 2:
        return []
    false_positives, sensitivity, thresholds = roc_curve(labels, probabilities, drop_intermediate=False)
    points = zip(thresholds, sensitivity, 1 - false_positives, strict=True)
    names = ("threshold", "sensitivity", "specificity")
    return [dict(zip(names, map(float, point), strict=True)) for point in points][1:]  # the first is infinite


def lesion_metrics(lesion_labels: np.ndarray, probabilities: np.ndarray) -> dict[str, dict[str, float]]:
    """AUC of each lesion over the slices that have its label, with the counts behind it.

    Args:
        lesion_labels: (N, 5), 0, 1 or NaN for no label.
        probabilities: (N, 5).
    """
    answers = {}
    for column, lesion in enumerate(LESIONS):
        labelled = ~np.isnan(lesion_labels[:, column])
        present = lesion_labels[labelled, column]
        answers[lesion] = {
            "auc": float(auc(present, probabilities[labelled, column])),
            "present": int(present.sum()),
            "labelled": int(labelled.sum()),
        }
    return answers


def lesion_scores(lesion_labels: np.ndarray, probabilities: np.ndarray) -> dict[str, dict[str, Any]]:
    """As `lesion_metrics`, each AUC as `[value, low, high]`; see `interval`."""
    answers = lesion_metrics(lesion_labels, probabilities)
    for column, numbers in enumerate(answers.values()):
        labelled = ~np.isnan(lesion_labels[:, column])
        numbers["auc"] = interval(auc, lesion_labels[labelled, column], probabilities[labelled, column])
    return answers


def share(wanted: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of the slices that are `among`, the share that is `wanted`; NaN where there are none.

    Args:
        wanted: bool (..., N).
        among: bool (..., N).

    Returns:
        (...), in [0, 1].
    """
    with np.errstate(invalid="ignore"):
        return (wanted & among).sum(axis=-1) / among.sum(axis=-1)


def interval(statistic: Callable[..., np.ndarray], *columns: np.ndarray) -> list[float]:
    """A number as `[value, low, high]`: a 95% bootstrap interval, all columns resampled by the same slices.

    Args:
        statistic: From columns of shape (..., N) to one number a resample, (...).
        columns: Each (N,), one value a slice.

    Returns:
        `[value, low, high]`, NaN where the value is not defined, or its interval, of one slice.
    """
    value = float(statistic(*columns))
    if np.isnan(value) or len(columns[0]) == 1:
        return [value, np.nan, np.nan]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # scipy's interval is not taken, ...
        resampled = bootstrap(
            columns,
            lambda *resample, axis: statistic(*resample),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=max(1, _CELLS // len(columns[0])),
            method="percentile",
            rng=np.random.default_rng(0),
        ).bootstrap_distribution
    low, high = np.nanpercentile(resampled, [2.5, 97.5])  # ... it is NaN where one resample is
    return [value, float(low), float(high)]


def with_intervals(score: Callable[..., dict[str, float]], *columns: np.ndarray) -> dict[str, list[float]]:
    """A score's numbers, each as `[value, low, high]`: a 95% interval from resamples of the slices."""
    generator, count = np.random.default_rng(0), len(columns[0])
    bar = tqdm(range(RESAMPLES), desc="intervals", unit="resample", delay=2, leave=False, disable=None)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        resampled = []
        for _ in bar:
            rows = generator.integers(count, size=count)
            resampled.append(list(score(*(column[rows] for column in columns)).values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a number that no resample defines stays NaN
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
    value = score(*columns)
    return {name: [v, float(a), float(b)] for (name, v), a, b in zip(value.items(), low, high, strict=True)}


def to_json(numbers: Any) -> str:
    """Numbers as indented JSON; one that is not defined is null, for JSON has no NaN."""
    return json.dumps(_without_nan(numbers), indent=2) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and np.isnan(value) else value

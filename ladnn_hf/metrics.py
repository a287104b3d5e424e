"""Numbers that say how good answers are, from scikit-learn."""

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu
from sklearn import config_context
from sklearn.metrics import brier_score_loss, confusion_matrix
from tqdm import tqdm

from .labels import LESIONS

RESAMPLES = 2000
"""Bootstrap resamples behind each 95% interval."""


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; NaN where one class is absent and there is nothing to rank.

    It is the Mann-Whitney statistic over the number of pairs: the same number as scikit-learn's, in a
    third of the time, of which intervals take thousands.
    """
    present, absent = scores[labels == 1], scores[labels == 0]
    if not len(present) or not len(absent):
        return float("nan")
    return float(mannwhitneyu(present, absent, method="asymptotic").statistic / (len(present) * len(absent)))


def probability_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """How well probabilities of COVID rank and fit: `auc` and the `brier` score.

    Args:
        labels: (N,), 0 or 1.
        probabilities: (N,), in [0, 1].
    """
    brier = brier_score_loss(labels, probabilities, pos_label=1, labels=[0, 1])
    return {"auc": auc(labels, probabilities), "brier": float(brier)}


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
            "auc": auc(present, probabilities[labelled, column]),
            "present": int(present.sum()),
            "labelled": int(labelled.sum()),
        }
    return answers


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
    return json.dumps(_without_nan(numbers), indent=2, ensure_ascii=False) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and np.isnan(value) else value

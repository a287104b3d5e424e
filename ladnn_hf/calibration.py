"""Temperature and shift, operating point and indeterminate band, all chosen on a validation split."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import log_loss, roc_curve

SENSITIVITY = 0.90
"""The sensitivity that the operating point is chosen for."""
DECIDED = 0.70
"""Least share of slices that are answered positive or negative, not indeterminate."""


def fit_scaling(covid_logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Temperature and shift with the least log loss of `sigmoid((logit + shift) / temperature)`.

    Platt scaling (Advances in Large Margin Classifiers, 1999): a temperature alone cannot mend what drawn
    positives and averaged weights do, which raise all logits.

    Args:
        covid_logits: (N,), uncalibrated.
        labels: (N,), 0 or 1.

    Returns:
        The temperature, between 0.1 and 10, and the shift, between -10 and 10.
    """

    def loss(scaling: np.ndarray) -> float:
        log_temperature, shift = scaling
        return log_loss(labels, expit((covid_logits + shift) / np.exp(log_temperature)), labels=[0, 1])

    log_temperature, shift = minimize(loss, (0, 0), bounds=[np.log((0.1, 10)), (-10, 10)]).x
    return float(np.exp(log_temperature)), float(shift)


def choose_threshold(
    probabilities: np.ndarray, labels: np.ndarray, sensitivity: float = SENSITIVITY
) -> float:
    """The highest threshold that reaches a sensitivity: the best specificity at that sensitivity.

    It is put halfway to the next lower probability, so that it does not rest on one slice's digits.
    """
    _, true_positive_rate, thresholds = roc_curve(labels, probabilities, drop_intermediate=False)
    chosen = thresholds[np.argmax(true_positive_rate >= sensitivity)]
    lower = probabilities[probabilities < chosen]
    midpoint = (chosen + (lower.max() if len(lower) else 0.0)) / 2
    return float(np.clip(midpoint, 1e-6, 1 - 1e-6))


def choose_band(
    probabilities: np.ndarray, labels: np.ndarray, threshold: float, decided: float = DECIDED
) -> tuple[float, float]:
    """The band around the threshold that leaves the decided answers right as often as can be had.

    Every band that holds the threshold, ends between two validation probabilities and leaves at least the
    share `decided` outside is tried; of equally good ones the narrowest is taken, which decides the most.

    Args:
        probabilities: (N,), calibrated.
        labels: (N,), 0 or 1.
        threshold: The operating point.
        decided: Least share of the slices outside the band, in (0, 1].

    Returns:
        (low, high): a slice is indeterminate from `low` up to, not including, `high`. Both are the threshold
        where no band does better than none.
    """
    order = np.argsort(probabilities)
    ranked, present = probabilities[order], labels[order]
    right_below = np.concatenate([[0], (present == 0).cumsum()])  # of the first k slices
    right_from = present.sum() - np.concatenate([[0], (present == 1).cumsum()])  # of all but those
    at_threshold = int(np.searchsorted(ranked, threshold))
    most = int(len(ranked) * (1 - decided))
    best, chosen = (-1.0, 0), (at_threshold, at_threshold)
    edges = np.flatnonzero(np.diff(ranked, prepend=-1, append=2))  # none parts slices of one probability
    for low in edges[(at_threshold - most <= edges) & (edges <= at_threshold)].tolist():
        for high in edges[(at_threshold <= edges) & (edges <= low + most)].tolist():
            outside = len(ranked) - (high - low)
            score = ((right_below[low] + right_from[high]) / outside, outside)
            if score > best:
                best, chosen = score, (low, high)
    between = np.concatenate([[0.0], (ranked[1:] + ranked[:-1]) / 2, [1.0]])
    low, high = chosen
    return (
        float(between[low]) if low < at_threshold else threshold,
        float(between[high]) if high > at_threshold else threshold,
    )

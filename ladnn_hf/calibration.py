"""Temperature and operating point, both chosen on a validation split."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.metrics import log_loss, roc_curve

SENSITIVITY = 0.90
"""The sensitivity that the operating point is chosen for."""


def fit_temperature(covid_logits: np.ndarray, labels: np.ndarray) -> float:
    """Temperature that minimises the log loss (Guo et al., ICML 2017), between 0.1 and 10.

    Args:
        covid_logits: (N,), uncalibrated.
        labels: (N,), 0 or 1.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(labels, expit(covid_logits / np.exp(log_temperature)), labels=[0, 1])

    bounds = np.log([0.1, 10.0])
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


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

"""Figures of an evaluation, told apart in grey and by the colour-blind: by lightness, marker and line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    precision_recall_curve,
    roc_curve,
)

from .labels import CLASSES, LESIONS
from .metrics import calibration_bins, with_intervals

FIGURES = {
    "roc": "ROC curve, with 95% intervals",
    "precision_recall": "Precision and recall, with 95% intervals",
    "reliability": "Reliability: how often a probability comes true, with 95% intervals",
    "confusion": "Decisions at the operating point",
    "lesions": "AUC of each lesion, with 95% intervals",
    "pairs": "Probabilities of COVID and of the lesions, pair by pair, by true class",
}
"""Figures, each in a PNG of that name, and what they show."""
_DARK, _LIGHT = "#0072B2", "#E69F00"  # of Okabe and Ito, Color Universal Design, 2008
_STYLES = ({"color": _LIGHT, "marker": "o"}, {"color": _DARK, "marker": "^"})
_DPI = 120
_GRID = np.linspace(0, 1, 51)
"""Where on a curve its interval is taken."""


def write_figures(
    report: dict[str, Any],
    labels: np.ndarray,
    covid: np.ndarray,
    lesions: np.ndarray,
    patients: np.ndarray,
    output: Path,
) -> None:
    """Write the `FIGURES` of an evaluation into a folder.

    Args:
        report: What `evaluate` reports.
        labels: (N,), 0 or 1.
        covid: (N,), probability of COVID.
        lesions: (N, 5), probability of each lesion.
        patients: (N,), see `metrics.with_intervals`.
        output: A folder that is there.
    """
    figure, axis = _square()
    RocCurveDisplay.from_predictions(
        labels, covid, ax=axis, plot_chance_level=True, curve_kwargs={"color": _DARK}, name="model"
    )
    _plot_band(axis, _sensitivities, labels, covid, patients)
    _save(figure, output, "roc")
    figure, axis = _square()
    PrecisionRecallDisplay.from_predictions(
        labels, covid, ax=axis, plot_chance_level=True, curve_kwargs={"color": _DARK}, name="model"
    )
    _plot_band(axis, _precisions, labels, covid, patients)
    _save(figure, output, "precision_recall")
    figure, axis = _square()
    _plot_reliability(axis, labels, covid, patients)
    _save(figure, output, "reliability")
    figure, axis = _square()
    ConfusionMatrixDisplay.from_predictions(
        *(labels, covid >= report["threshold"]),
        labels=(0, 1),
        display_labels=CLASSES,
        cmap="Greys",
        colorbar=False,
        ax=axis,
    )
    _save(figure, output, "confusion")
    figure, axis = _square()
    _plot_lesions(axis, report["lesions"])
    _save(figure, output, "lesions")
    _save(_plot_pairs(labels, np.column_stack([covid, lesions])), output, "pairs")


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, output: Path, name: str) -> None:
    figure.savefig(output / f"{name}.png", dpi=_DPI)


def _sensitivities(labels: np.ndarray, covid: np.ndarray) -> np.ndarray:
    """At the rates of false positives of the grid."""
    false_positives, sensitivity, _ = roc_curve(labels, covid)
    return np.interp(_GRID, false_positives, sensitivity)


def _precisions(labels: np.ndarray, covid: np.ndarray) -> np.ndarray:
    """At the recalls of the grid: a step, that of the next threshold that reaches one."""
    precision, recall, _ = precision_recall_curve(labels, covid)
    return precision[::-1][np.searchsorted(recall[::-1], _GRID)]


def _plot_band(
    axis: Axes,
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray],
    labels: np.ndarray,
    covid: np.ndarray,
    patients: np.ndarray,
) -> None:
    """The 95% intervals of a curve; none where one class is absent, and nothing is ranked."""

    def points(labels: np.ndarray, covid: np.ndarray) -> dict[int, float]:
        both = len(np.unique(labels)) == 2
        return dict(enumerate(curve(labels, covid) if both else np.full(len(_GRID), np.nan)))

    _, low, high = np.array(list(with_intervals(points, labels, covid, patients=patients).values())).T
    axis.fill_between(_GRID, low, high, color=_DARK, alpha=0.2, linewidth=0)


def _plot_reliability(axis: Axes, labels: np.ndarray, covid: np.ndarray, patients: np.ndarray) -> None:
    """The share of positives in each bin of the calibration error, over its mean probability."""
    bins = calibration_bins(covid)
    numbers = np.unique(bins)
    shares = with_intervals(
        lambda labels, bins: {number: labels[bins == number].mean() for number in numbers},
        *(labels, bins),
        patients=patients,
    )
    value, low, high = np.array(list(shares.values())).T
    means = [covid[bins == number].mean() for number in numbers]
    axis.plot([0, 1], [0, 1], color="grey", linestyle="--", label="calibrated")
    bars = np.maximum(0, [value - low, high - value])
    axis.errorbar(means, value, bars, fmt="s-", color=_DARK, capsize=3, label="model")
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="Mean probability of COVID", ylabel="Share of COVID")
    axis.legend(loc="upper left")


def _plot_lesions(axis: Axes, lesions: dict[str, dict[str, Any]]) -> None:
    axis.axvline(0.5, color="grey", linestyle="--")
    for place, numbers in enumerate(lesions.values()):
        value, low, high = numbers["auc"]
        if np.isnan(low):
            axis.text(0.5, place, "not validated", ha="center", va="center", backgroundcolor="white")
        else:
            axis.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=_DARK, capsize=4)
    titles = [f"{name}\n{numbers['present']} of {numbers['labelled']}" for name, numbers in lesions.items()]
    axis.set(xlim=(0, 1), ylim=(len(titles) - 0.5, -0.5), yticks=range(len(titles)), yticklabels=titles)
    axis.set_xlabel("AUC")


def _plot_pairs(labels: np.ndarray, probabilities: np.ndarray) -> Figure:
    names = (CLASSES[1], *LESIONS)
    figure = Figure(figsize=(11, 11), layout="constrained")
    axes = figure.subplots(len(names), len(names), sharex="col")
    bins = np.linspace(0, 1, 21)
    for row, column in np.ndindex(axes.shape):
        axis = axes[row, column]
        for index, style in enumerate(_STYLES):
            of_class = probabilities[labels == index]
            if row == column:
                axis.hist(of_class[:, row], bins, histtype="step", color=style["color"], linewidth=1 + index)
                axis.set_yticks([])
            else:
                axis.scatter(
                    of_class[:, column], of_class[:, row], s=9, alpha=0.6, label=CLASSES[index], **style
                )
                axis.set(xlim=(0, 1), ylim=(0, 1))
            if row != column:
                axis.label_outer()
    for place, name in enumerate(names):
        axes[-1, place].set_xlabel(name)
        axes[place, 0].set_ylabel(name)
    figure.align_ylabels(axes[:, 0])
    figure.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure

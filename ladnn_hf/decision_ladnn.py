"""From a probability to a decision: the one rule of every way in."""

from collections.abc import Sequence

from .labels import CLASSES


def decide(
    covid_probability: float, threshold: float, band: Sequence[float] | None = None
) -> tuple[str, str]:
    """The label and the decision at an operating point.

    Args:
        covid_probability: Calibrated, in [0, 1].
        threshold: `LaDnnConfig.threshold`.
        band: `LaDnnConfig.indeterminate_band`.

    Returns:
        `COVID` or `NonCOVID`, the likelier at the threshold; and `positive`, `negative` or `indeterminate`.
    """
    positive = covid_probability >= threshold
    if band is not None and band[0] <= covid_probability < band[1]:
        decision = "indeterminate"
    else:
        decision = "positive" if positive else "negative"
    return CLASSES[int(positive)], decision

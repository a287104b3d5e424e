"""What other operating points than the model's own would give, as validation measured it."""

from typing import Any

from texts import text


class OperatingPoints:
    """Sensitivity and specificity on validation at any threshold.

    Args:
        report: What `ladnn evaluate` wrote of the validation split; None where there is none.
    """

    def __init__(self, report: dict[str, Any] | None):
        self._points = (report or {}).get("operating_points", [])

    def at(self, threshold: float) -> tuple[float, float] | None:
        """Sensitivity and specificity, None where validation cannot tell."""
        if not self._points:
            return None
        reached = [point for point in self._points if point["threshold"] >= threshold]
        return (reached[-1]["sensitivity"], reached[-1]["specificity"]) if reached else (0.0, 1.0)

    def to_html(self, threshold: float, language: str) -> str:
        """The same as a sentence."""
        measured = self.at(threshold)
        if measured is None:
            return f"<p>{text('not_validated', language)}</p>"
        sensitivity, specificity = (f"{share:.0%}" for share in measured)
        return f"<p>{text('validated', language, sensitivity=sensitivity, specificity=specificity)}</p>"

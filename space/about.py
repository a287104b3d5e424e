"""The tab that says how good the model is, how to read it and whom to cite, from its report."""

from collections.abc import Mapping, Sequence
from typing import Any

from html_parts import facts_table
from texts import text

_CITATION = (
    "Liu B., Gao X., He M., Liu L., Yin G.: Online COVID-19 diagnosis with chest CT images: Lesion-attention "
    "deep neural networks. medRxiv 10.1101/2020.05.11.20097907."
)


def about_html(report: Mapping[str, Any], language: str) -> str:
    """The page of one model.

    Args:
        report: The `report.json` beside its weights; empty where it was not evaluated.
        language: Of the texts; the names of the rows are English.
    """
    scored = report.get("test") or report.get("validation") or (report if "rows" in report else None)
    numbers = _numbers(scored, language) if scored else f"<p>{text('not_evaluated', language)}</p>"
    return (
        f"<h2>{text('about_scores', language)}</h2>{numbers}"
        f"<h2>{text('about_reading', language)}</h2><p>{text('report_how_text', language)}</p>"
        f"<h2>{text('about_limits', language)}</h2>{_list('about_limit', 5, language)}"
        f"<h2>{text('about_pictures', language)}</h2><p>{text('about_pictures_text', language)}</p>"
        f"<h2>{text('about_cite', language)}</h2><p>{_CITATION}</p>"
    )


def _numbers(scored: Mapping[str, Any], language: str) -> str:
    intro = text(
        "about_intro",
        language,
        dataset=scored["dataset"],
        split=scored["split"],
        slices=scored["slices"],
        threshold=f"{scored['threshold']:.3f}",
    )
    measured = {"AUC": scored["probabilities"]["auc"], "ECE": scored["probabilities"]["ece"]}
    measured |= scored["at_threshold"]
    rows = [(row["title"], row["slices"], _number(row["auc"])) for row in scored["rows"] if row["auc"]]
    lesions = [
        (
            text(f"lesion_{name}", language),
            _number(numbers["auc"]),
            f"{numbers['present']} / {numbers['labelled']}",
        )
        for name, numbers in scored["lesions"].items()
    ]
    return (
        f"<p>{intro}</p>"
        + facts_table(
            [text("column_measure", language), text("column_value", language)],
            [(name, _number(value)) for name, value in measured.items()],
            text("about_numbers", language),
        )
        + facts_table(
            [text("column_scored_on", language), text("column_slices", language), "AUC"],
            rows,
            text("about_rows", language),
        )
        + facts_table(
            [text("column_lesion", language), "AUC", text("column_present", language)],
            lesions,
            text("about_lesions", language),
        )
    )


def _number(numbers: Sequence[float | None]) -> str:
    value, low, high = numbers
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f}–{high:.3f})"


def _list(key: str, count: int, language: str) -> str:
    return "<ul>" + "".join(f"<li>{text(f'{key}_{n}', language)}</li>" for n in range(1, count + 1)) + "</ul>"

"""The tab that says how good the model is, how to read it and whom to cite, from its report.

The report came with the model, maybe from a stranger: what it says is escaped.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from html_parts import facts_table
from texts import term_in, text

from ladnn_hf.model_folder import scored_on

_CITATION = (
    "Liu B., Gao X., He M., Liu L., Yin G.: Online COVID-19 diagnosis with chest CT images: Lesion-attention "
    "deep neural networks. "
    '<a href="https://doi.org/10.1101/2020.05.11.20097907">medRxiv 10.1101/2020.05.11.20097907</a>.'
)


def about_html(
    report: Mapping[str, Any], threshold: float, band: tuple[float, float] | None, language: str
) -> str:
    """The page of one model.

    Args:
        report: The `report.json` beside its weights; empty where it was not evaluated.
        threshold: `Predictor.threshold`.
        band: `Predictor.band`.
        language: Of the texts.
    """
    decided = (
        text("with_band", language, low=f"{band[0]:.3f}", high=f"{band[1]:.3f}")
        if band
        else text("without_band", language, threshold=f"{threshold:.3f}")
    )
    splits = (scored_on(report, split) for split in ("test", "validation", report.get("split")))
    scored = next(filter(None, splits), None)
    numbers = _numbers(scored, language) if scored else f"<p>{text('not_evaluated', language)}</p>"
    return (
        '<div class="chapters">'
        f"<section><h2>{text('about_limits', language)}</h2>{_list('about_limit', 5, language)}</section>"
        f"<section><h2>{text('about_reading', language)}</h2><p>{decided}</p>"
        f"<p>{text('report_how_text', language)}</p>"
        f"<h2>{text('about_pictures', language)}</h2><p>{text('about_pictures_text', language)}</p>"
        f"<h2>{text('about_cite', language)}</h2><p>{_CITATION}</p></section></div>"
        f"<h2>{text('about_scores', language)}</h2>{numbers}"
    )


def _scored_on(row: Mapping[str, Any], language: str) -> str:
    title = term_in(row["title"], language)
    gated = row["gate"] or row["name"] == "file_only"  # which has no pictures to refuse
    return title if gated else text("about_row_ungated", language, title=title)


def _numbers(scored: Mapping[str, Any], language: str) -> str:
    intro = text(
        "about_intro",
        language,
        dataset=term_in(scored["dataset"], language),
        split=term_in(scored["split"], language),
        slices=scored["slices"],
        threshold=f"{scored['threshold']:.3f}",
    )
    measured = {"AUC": scored["probabilities"]["auc"], "calibration error": scored["probabilities"]["ece"]}
    measured |= {"F1" if name == "f1" else name: value for name, value in scored["at_threshold"].items()}
    rows = [
        (_scored_on(row, language), row["slices"], _number(row["auc"], language))
        for row in scored["rows"]
        if row["auc"]
    ]
    lesions = [
        (
            text(f"lesion_{name}", language),
            _lesion(numbers["auc"], language),
            f"{numbers['present']} / {numbers['labelled']}",
        )
        for name, numbers in scored["lesions"].items()
    ]
    at_threshold = facts_table(
        [text("column_measure", language), text("column_value", language)],
        [(term_in(name, language), _number(value, language)) for name, value in measured.items()],
        text("about_numbers", language),
    )
    of_lesions = facts_table(
        [text("column_lesion", language), "AUC", text("column_present", language)],
        lesions,
        text("about_lesions", language),
    )
    everywhere = facts_table(
        [text("column_scored_on", language), text("column_slices", language), "AUC"],
        rows,
        text("about_rows", language),
    )
    tables = f'<div class="tables"><div>{at_threshold}{of_lesions}</div>{everywhere}</div>'
    return f"<p>{html.escape(intro)}</p>{tables}"


def _number(numbers: Sequence[float | None], language: str) -> str:
    value, low, high = numbers
    if value is None:
        return text("unmeasured", language)
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f}–{high:.3f})"


def _lesion(numbers: Sequence[float | None], language: str) -> str:
    """An AUC without an interval is of too few patients to be sure of anything."""
    alone = numbers[0] is not None and numbers[1] is None
    said = _number(numbers, language)
    return f"{said}, {text('not_validated', language)}" if alone else said


def _list(key: str, count: int, language: str) -> str:
    return "<ul>" + "".join(f"<li>{text(f'{key}_{n}', language)}</li>" for n in range(1, count + 1)) + "</ul>"

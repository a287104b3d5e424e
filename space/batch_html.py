"""A batch as HTML: how far it has come, its summary, a series as a strip, all answers as a table."""

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from texts import reason_in, text

from ladnn_hf import LESIONS, Prediction

_DECISIONS = ("positive", "negative", "indeterminate", "refused")
_STRIP_FROM = 3
"""Slices from which a series is drawn as a strip."""
_MATTER = 3
"""Slices of a series that are named as those that matter most."""


@dataclass(frozen=True)
class Answered:
    """One answer of a batch, without the slice."""

    name: str
    """As the giver knows the slice."""
    prediction: Prediction
    thumbnail: str
    """As a `data:` address; empty where nothing could be read."""
    series: str | None
    """The DICOM series, None for a picture."""


def progress_html(done: int, total: int, language: str) -> str:
    """How far a batch has come."""
    return (
        f"<p role='status'>{text('progress', language, done=done, total=total)}</p>"
        f'<progress max="{total}" value="{done}"></progress>'
    )


def summary_html(done: Sequence[Answered], language: str) -> str:
    """How often each decision was made."""
    counts = Counter(one.prediction.decision for one in done)
    numbers = {decision: counts[decision] for decision in _DECISIONS}
    return f"<p role='status'><strong>{text('summary', language, **numbers)}</strong></p>" if done else ""


def strip_html(done: Sequence[Answered], language: str) -> str:
    """Each series of some length as a strip in the order of the body, and its most telling slices."""
    series: dict[str, list[Answered]] = {}
    for one in done:
        if one.series is not None:
            series.setdefault(one.series, []).append(one)
    return "".join(_one_strip(slices, language) for slices in series.values() if len(slices) >= _STRIP_FROM)


def table_html(done: Sequence[Answered], language: str) -> str:
    """All answers, sortable by each column."""
    if not done:
        return ""
    first, last = (
        [text(f"column_{name}", language) for name in names]
        for names in (("file", "decision", "probability"), ("reason",))
    )
    lesions = {name: f' title="{text(f"lesion_{name}", language)}"' for name in LESIONS}
    head = "".join(
        f'<th scope="col"><button type="button"{meaning}>{name}</button></th>'
        for name, meaning in (dict.fromkeys(first, "") | lesions | dict.fromkeys(last, "")).items()
    )
    rows = "".join(_row(one, language) for one in done)
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{text("batch_table", language)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(one: Answered, language: str) -> str:
    answer = one.prediction
    scores = [answer.covid_probability, *(answer.lesions or dict.fromkeys(LESIONS)).values()]
    cells = "".join(
        '<td data-value="-1"></td>' if score is None else f'<td data-value="{score:.6f}">{score:.3f}</td>'
        for score in scores
    )
    picture = f'<img src="{one.thumbnail}" alt="" loading="lazy">' if one.thumbnail else ""
    reason = html.escape(reason_in(answer.reason, language)) if answer.reason else ""
    return (
        f'<tr><th scope="row" data-value="{html.escape(one.name)}"><div>{picture}'
        f"<span>{html.escape(one.name)}</span></div></th>"
        f'<td class="{answer.decision}">{text(f"decision_{answer.decision}", language)}</td>{cells}'
        f"<td>{reason}</td></tr>"
    )


def _one_strip(slices: Sequence[Answered], language: str) -> str:
    bars = "".join(
        f'<li class="{one.prediction.decision}" title="{html.escape(one.name)}">'
        f'<img src="{one.thumbnail}" alt="{html.escape(one.name)}">'
        f'<div><b style="height:{one.prediction.covid_probability or 0:.1%}"></b></div></li>'
        for one in slices
    )
    answered = [one for one in slices if one.prediction.covid_probability is not None]
    telling = sorted(answered, key=lambda one: -one.prediction.covid_probability)[:_MATTER]
    names = ", ".join(f"{html.escape(one.name)} ({one.prediction.covid_probability:.2f})" for one in telling)
    return (
        f'<div class="scroll" tabindex="0"><ol class="strip">{bars}</ol></div>'
        f"<p>{text('key_slices', language, names=names)}</p>"
    )

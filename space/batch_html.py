"""A batch as HTML: how far it has come, its summary, a series as a strip, all answers as a table."""

import html
import re
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
    picture: str = ""
    """Of a slice in a series: larger than the thumbnail, with what speaks for COVID-19 laid over it."""


def progress_html(done: int, total: int, language: str) -> str:
    """How far a batch has come."""
    return (
        f"<p role='status'>{text('progress', language, done=done, total=total)}</p>"
        f'<progress max="{total}" value="{done}"></progress>'
    )


def summary_html(done: Sequence[Answered], language: str) -> str:
    """How often each decision was made."""
    counts = Counter(one.prediction.decision for one in done)
    said = "".join(
        f'<li class="{decision}"><b>{counts[decision]}</b> {text(f"decision_{decision}", language)}</li>'
        for decision in _DECISIONS
    )
    return f'<div role="status"><ul>{said}</ul></div>' if done else ""


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
    headings = [("", text(f"column_{name}", language)) for name in ("file", "decision", "probability")]
    headings += [("lesion", text(f"lesion_{name}", language)) for name in LESIONS]
    head = "".join(
        f'<th scope="col" class="{kind}"><button type="button">{name}</button></th>'
        for kind, name in headings
    )
    rows = "".join(_row(one, language) for one in done)
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{text("batch_table", language)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(one: Answered, language: str) -> str:
    answer = one.prediction
    picture = f'<img src="{one.thumbnail}" alt="" loading="lazy">' if one.thumbnail else ""
    decision = text(f"decision_{answer.decision}", language)
    if answer.lesions is None:  # its reason takes the place of the numbers
        reason = html.escape(reason_in(answer.reason, language))
        cells = f'<td class="reason" colspan="{2 + len(LESIONS)}"><div><b>{decision}</b> {reason}</div></td>'
    else:
        scores = "".join(map(_score, answer.lesions.values()))
        cells = f'<td class="decision">{decision}</td>{_score(answer.covid_probability, drawn=True)}{scores}'
    return (
        f'<tr class="{answer.decision}"><th scope="row" data-value="{html.escape(one.name)}"><div>{picture}'
        f"<span>{_breakable(one.name)}</span></div></th>{cells}</tr>"
    )


def _breakable(name: str) -> str:
    """A file's name that a narrow column breaks behind its parts rather than within a word."""
    return re.sub(r"([_./-]+)", r"\1<wbr>", html.escape(name))


def _score(score: float, drawn: bool = False) -> str:
    """A cell that is sorted by its number, drawn as a line too where that is asked for."""
    line = f'<i style="width:{score:.1%}"></i>' if drawn else ""
    return f'<td data-value="{score:.6f}">{score:.3f}{line}</td>'


def _one_strip(slices: Sequence[Answered], language: str) -> str:
    bars = "".join(
        f'<li class="{one.prediction.decision}" title="{html.escape(one.name)}">'
        f'<img src="{one.thumbnail}" alt="{_said(one, language)}">'
        f'<div><b style="height:{one.prediction.covid_probability or 0:.1%}"></b></div></li>'
        for one in slices
    )
    answered = [one for one in slices if one.prediction.covid_probability is not None]
    telling = "".join(
        f'<li class="{one.prediction.decision}"><img src="{one.picture}" alt="{_said(one, language)}">'
        f"<b>{one.prediction.covid_probability:.3f}</b>{html.escape(one.name)}</li>"
        for one in sorted(answered, key=lambda one: -one.prediction.covid_probability)[:_MATTER]
    )
    return (
        f"<h3>{text('series', language, slices=len(slices))}</h3>"
        f'<div class="scroll" tabindex="0"><ol class="strip">{bars}</ol></div>'
        f'<h3>{text("key_slices", language)}</h3><ol class="telling">{telling}</ol>'
    )


def _said(one: Answered, language: str) -> str:
    """A slice of a series in words, for who cannot see it."""
    return html.escape(f"{one.name}: {text(f'decision_{one.prediction.decision}', language)}")

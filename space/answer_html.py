"""An answer as HTML: the decision, the scale, the lesions, the slice under its heat, what was read.

Everything that came from outside is escaped.
"""

import html

from html_parts import png_uri
from texts import reason_in, text

from ladnn_hf import LESIONS, Prediction
from ladnn_hf.attention import heat_picture

VIEWS = ("covid", *LESIONS)
"""What a heat map may be of, in the order of `Prediction.maps`; also the ends of the texts' keys."""
_LONGEST = 768
"""Longest side in pixels of the slice as it is shown."""
_HEAT_SIDE = 96
"""Longest side in pixels of a heat map, which the browser enlarges smoothly."""


def decision_at(prediction: Prediction, threshold: float | None) -> str:
    """The decision at another operating point, without a band; the model's own for None."""
    if threshold is None or prediction.covid_probability is None:
        return prediction.decision
    return "positive" if prediction.covid_probability >= threshold else "negative"


def answer_html(
    prediction: Prediction,
    band: tuple[float, float] | None,
    language: str,
    threshold: float | None = None,
) -> str:
    """The answer at a glance.

    Args:
        prediction: What the model said.
        band: `Predictor.band`.
        language: Of the texts.
        threshold: Another operating point than the model's.
    """
    decision = decision_at(prediction, threshold)
    title = f'<h2 class="{decision}">{text(f"decision_{decision}", language)}</h2>'
    if decision == "refused":
        reason = html.escape(reason_in(prediction.reason, language))
        return f"{title}<p>{reason}</p>{read_html(prediction, language)}"
    probability = prediction.covid_probability
    said = text("probability", language, probability=f"<strong>{probability:.3f}</strong>")
    if threshold is not None:
        band = None
        said += " " + text("at_your_point", language, threshold=f"{threshold:.2f}")
    scale = _scale(
        probability, prediction.threshold if threshold is None else threshold, band, decision, language
    )
    lesions = "".join(
        f"<tr><th scope='row'>{text(f'lesion_{name}', language)}</th>"
        f"<td>{_bar(score)}</td><td>{score:.2f}</td></tr>"
        for name, score in prediction.lesions.items()
    )
    return (
        f"{title}<p>{said}</p>{scale}"
        f"<table><caption>{text('lesion_scores', language)}</caption>{lesions}</table>"
        f"{read_html(prediction, language)}"
    )


def view_html(prediction: Prediction | None, language: str, view: str, opacity: float) -> str:
    """The slice with one heat map a class over it, of which CSS shows one; nothing where nothing was read."""
    if prediction is None or prediction.slice is None:
        return ""
    grey = prediction.slice.grey
    shown = grey.copy()
    shown.thumbnail((_LONGEST, _LONGEST))
    heats = ""
    if prediction.maps is not None:
        left, upper, right, lower = prediction.box or (0, 0, *grey.size)
        width, height = right - left, lower - upper
        scale = _HEAT_SIDE / max(width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        place = (
            f"left:{left / grey.width:.2%};top:{upper / grey.height:.2%};"
            f"width:{width / grey.width:.2%};height:{height / grey.height:.2%}"
        )
        heats = "".join(
            f'<img data-map="{name}" alt="" style="{place}" src="{png_uri(heat_picture(one, size))}">'
            for name, one in zip(VIEWS, prediction.maps, strict=True)
        )
    return (
        f'<figure class="stack" data-view="{html.escape(view)}" style="--heat:{opacity:.2f}">'
        f'<img class="slice" alt="{text("slice_shown", language)}" src="{png_uri(shown)}">{heats}</figure>'
    )


def _scale(
    probability: float, threshold: float, band: tuple[float, float] | None, decision: str, language: str
) -> str:
    """The probability between 0 and 1, with the operating point and the band drawn on it and named below."""
    low, high = band or (threshold, threshold)
    legend = ""
    if band:
        said = text("band", language, low=f"{low:.2f}", high=f"{high:.2f}")
        legend = f'<span><i class="band"></i>{said}</span>'
    point = text("point", language, threshold=f"{threshold:.2f}")
    return (
        f'<div class="scale {decision}" style="--low:{low:.1%};--high:{high:.1%}" aria-hidden="true">'
        f'<i class="point" style="left:{threshold:.1%}"></i><b style="left:{probability:.1%}"></b></div>'
        '<div class="ticks" aria-hidden="true"><span>0</span><span>0.5</span><span>1</span></div>'
        f'<p class="legend"><span><i class="point"></i>{point}</span>{legend}</p>'
    )


def _bar(score: float) -> str:
    return f'<div class="bar" aria-hidden="true"><b style="width:{score:.1%}"></b></div>'


def read_html(prediction: Prediction, language: str) -> str:
    """What was read of the file, and what is in doubt."""
    seen = prediction.slice
    if seen is None:
        return ""
    facts = text("read", language, format=seen.format, width=seen.size[0], height=seen.size[1])
    if seen.window:
        facts += text("read_window", language, level=f"{seen.window[0]:g}", width=f"{seen.window[1]:g}")
    doubts = "".join(f"<li>{html.escape(reason_in(doubt, language))}</li>" for doubt in seen.doubts)
    said = f'<p class="read"><span>{text("report_read", language)}</span> {facts}</p>'
    return said + (f'<ul class="doubts">{doubts}</ul>' if doubts else "")

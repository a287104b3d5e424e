"""The report of one answer as one A4 page in PDF: what was decided, from what, and how to read it.

Made with reportlab (BSD): it keeps the parsed font, so that a report takes hundredths of a second; fpdf2
reads the Chinese font anew for each and takes half a second.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pdf_page import INK, MARGIN, QUIET, WIDTH, Page
from PIL import Image
from reportlab.lib.colors import HexColor
from reportlab.lib.units import mm
from texts import reason_in, text

from ladnn_hf import Prediction, __version__

COLOURS = {
    "positive": HexColor("#b4420a"),
    "negative": HexColor("#0f6b66"),
    "indeterminate": HexColor("#6b5200"),
    "refused": QUIET,
}
"""Of each decision."""
_LESION, _GROUND, _BAND = HexColor("#5b6b82"), HexColor("#e3e7ee"), HexColor("#f0d9a0")
_PICTURE = (WIDTH / 2 - 3 * mm, 74 * mm)
"""Largest width and height of a picture."""
_LONGEST_NAME = 80
_LONGEST_SENTENCE = 400
"""Characters above which a text from outside is shortened, so that it leaves room for the rest."""


def write_report(
    prediction: Prediction,
    overlay: Image.Image | None,
    target: Path | BinaryIO,
    *,
    view: str,
    language: str,
    band: tuple[float, float] | None,
    when: datetime,
) -> None:
    """Write the report of one answer: the same bytes for the same facts.

    Args:
        prediction: The answer; of the paths of its image and its model only the last part is printed.
        overlay: The slice with heat over it; None where there is none.
        target: The file to write.
        view: What the heat is of, `covid` or a lesion.
        language: `en` or `zh`.
        band: `Predictor.band`.
        when: The time to print, with its zone.
    """
    said = partial(text, language=language)
    page = Page(target, said("report_title"), language)
    page.write(said("report_title"), size=17, after=1 * mm)
    page.write(said("notice"), size=11, colour=COLOURS["positive"], after=5 * mm)
    shown = prediction.slice and prediction.slice.grey
    _draw_pictures(
        page,
        {said("report_slice"): shown, said("report_overlay", view=said(f"view_{view}")): overlay},
    )
    answered = prediction.decision != "refused"
    title = said(f"decision_{prediction.decision}")
    page.write(title, size=16, colour=COLOURS[prediction.decision], after=1 * mm)
    if answered:
        _draw_probability(page, prediction, band, language)
        _draw_lesions(page, prediction.lesions, language)
    else:
        page.write(_shorten(reason_in(prediction.reason, language), _LONGEST_SENTENCE), after=5 * mm)
    for key, words in _facts(prediction, language, when):
        page.fact(said(key), words)
    page.top -= 4 * mm
    if answered:
        page.write(said("report_how"), size=11, after=0.5 * mm)
        page.write(said("report_how_text"), size=9, after=3 * mm)
    page.write(said("notice"), size=9, colour=COLOURS["positive"])
    page.close()


def _draw_pictures(page: Page, pictures: dict[str, Image.Image | None]) -> None:
    """Side by side, each under its caption; nothing where there is none."""
    there = {caption: picture for caption, picture in pictures.items() if picture is not None}
    if not there:
        return
    width, most = _PICTURE
    height = max(min(most, width * picture.height / picture.width) for picture in there.values())
    for at, (caption, picture) in enumerate(there.items()):
        left = MARGIN + at * (WIDTH - width)
        page.label(caption, left, page.top)
        page.picture(picture, left, page.top - 2 * mm - height, width, height)
    page.top -= height + 7 * mm


def _draw_probability(
    page: Page, prediction: Prediction, band: tuple[float, float] | None, language: str
) -> None:
    """In words and on a scale from 0 to 1, with the operating point and the band where it cannot tell."""
    said = partial(text, language=language)
    probability, threshold = prediction.covid_probability, prediction.threshold
    point = {"threshold": f"{threshold:.3f}"}
    limits = band and {"low": f"{band[0]:.3f}", "high": f"{band[1]:.3f}"}
    explained = said("with_band", **limits) if band else said("without_band", **point)
    page.write(said("probability", probability=f"{probability:.3f}"))
    page.write(explained, size=9, colour=QUIET, after=3 * mm)

    foot, height = page.top - 5 * mm, 5 * mm
    page.bar(MARGIN, foot, WIDTH, height, _GROUND)
    if band:
        low, high = band
        page.bar(MARGIN + low * WIDTH, foot - 1 * mm, (high - low) * WIDTH, height + 2 * mm, _BAND)
    page.bar(MARGIN, foot + 1.2 * mm, probability * WIDTH, height - 2.4 * mm, COLOURS[prediction.decision])
    page.bar(MARGIN + threshold * WIDTH, foot - 1 * mm, 0.5 * mm, height + 2 * mm, INK)
    for value, align in ((0.0, "left"), (0.5, "centre"), (1.0, "right")):
        page.label(f"{value:g}", MARGIN + value * WIDTH, foot - 4.5 * mm, align=align)

    legend = foot - 9.5 * mm
    page.bar(MARGIN, legend - 0.5 * mm, 0.5 * mm, 3.5 * mm, INK)
    page.label(said("point", **point), MARGIN + 3 * mm, legend)
    if band:
        page.bar(MARGIN + 60 * mm, legend - 0.5 * mm, 5 * mm, 3.5 * mm, _BAND)
        page.label(said("band", **limits), MARGIN + 67 * mm, legend)
    page.top = legend - 6 * mm


def _draw_lesions(page: Page, lesions: dict[str, float], language: str) -> None:
    page.write(text("lesion_scores", language), size=9, colour=QUIET)
    left, width, height = MARGIN + 62 * mm, WIDTH - 76 * mm, 2.6 * mm
    for lesion, score in lesions.items():
        page.top -= 5.4 * mm
        page.label(text(f"lesion_{lesion}", language), MARGIN, page.top, size=9)
        page.bar(left, page.top, width, height, _GROUND)
        page.bar(left, page.top, score * width, height, _LESION)
        page.label(f"{score:.2f}", MARGIN + WIDTH, page.top, size=9, align="right")
    page.top -= 5 * mm


def _facts(prediction: Prediction, language: str, when: datetime) -> Iterator[tuple[str, str]]:
    """What the answer is of and from: a text's key and words."""
    yield "report_file", _shorten(Path(prediction.image).name, _LONGEST_NAME)
    if seen := prediction.slice:
        words = text("read", language, format=seen.format, width=seen.size[0], height=seen.size[1])
        if seen.window:
            level, width = (f"{value:g}" for value in seen.window)
            words += text("read_window", language, level=level, width=width)
        yield "report_read", words
        for doubt in seen.doubts:
            yield "report_doubt", _shorten(reason_in(doubt, language), _LONGEST_SENTENCE)
    model = _shorten(Path(prediction.model).name, _LONGEST_NAME)
    threshold = f"{prediction.threshold:.3f}"
    yield (
        "report_model",
        text("report_version", language, model=model, version=__version__, threshold=threshold),
    )
    yield "report_time", f"{when:%Y-%m-%d %H:%M %Z}"


def _shorten(words: str, most: int) -> str:
    """At most so many characters: the middle is left out of longer ones."""
    if len(words) <= most:
        return words
    head = most // 2
    return f"{words[:head]}…{words[head + 1 - most :]}"

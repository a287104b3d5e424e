"""One A4 page of a PDF that is filled from its top, with English or Chinese words."""

import io
from functools import cache
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape

from PIL import Image
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

FONT = Path(__file__).parent / "fonts" / "wqy-microhei-gb2312.ttf"
"""`fonts/README.md` says how it was made."""
MARGIN = 18 * mm
WIDTH = A4[0] - 2 * MARGIN
INK, QUIET = HexColor("#17202e"), HexColor("#4b5a70")
_LONGEST = 512
"""Longest side of a picture in pixels."""
_QUALITY = 85
"""Of a picture as JPEG."""


class Page:
    """The page; lengths are in points, and y grows upwards from its foot.

    `top` is how far it is filled: what is written next stands below.

    Args:
        target: The file to write.
        title: Of the document.
        language: `en` or `zh`, which decides where a line may break.
    """

    def __init__(self, target: Path | BinaryIO, title: str, language: str):
        self.top = A4[1] - MARGIN
        self._font, self._glyphs = _font()
        self._wrap = "CJK" if language == "zh" else None
        self._canvas = Canvas(
            str(target) if isinstance(target, Path) else target,
            pagesize=A4,
            invariant=1,  # no time and nothing random inside: the same facts give the same bytes
            lang=language,
        )
        self._canvas.setTitle(title)

    def write(
        self, words: str, *, size: float = 10, colour: Color = INK, indent: float = 0, after: float = 0
    ) -> None:
        """Words below what is there, in as many lines as they need, and so much space after them."""
        style = ParagraphStyle(
            "", fontName=self._font, fontSize=size, leading=1.35 * size, textColor=colour, wordWrap=self._wrap
        )
        paragraph = Paragraph(escape(self._printable(words)), style)
        _, height = paragraph.wrap(WIDTH - indent, A4[1])
        self.top -= height
        paragraph.drawOn(self._canvas, MARGIN + indent, self.top)
        self.top -= after

    def fact(self, name: str, words: str) -> None:
        """A small line below what is there: a name and, beside it, words."""
        top = self.top
        self.write(name, size=9, colour=QUIET)
        below, self.top = self.top, top
        self.write(words, size=9, indent=30 * mm)
        self.top = min(self.top, below) - 0.6 * mm

    def label(self, words: str, x: float, y: float, *, size: float = 8, align: str = "left") -> None:
        """One quiet line at a place, which is its `left` end, its `centre` or its `right` end."""
        draw = {
            "left": self._canvas.drawString,
            "centre": self._canvas.drawCentredString,
            "right": self._canvas.drawRightString,
        }[align]
        self._canvas.setFont(self._font, size)
        self._canvas.setFillColor(QUIET)
        draw(x, y, self._printable(words))

    def bar(self, x: float, y: float, width: float, height: float, colour: Color) -> None:
        """A filled rectangle; (x, y) is its lower left corner."""
        self._canvas.setFillColor(colour)
        self._canvas.rect(x, y, width, height, stroke=0, fill=1)

    def picture(self, picture: Image.Image, x: float, y: float, width: float, height: float) -> None:
        """A picture as large as fits a rectangle, at its upper left; (x, y) is its lower left corner."""
        small = picture.copy()
        small.thumbnail((_LONGEST, _LONGEST))
        jpeg = io.BytesIO()
        small.save(jpeg, "JPEG", quality=_QUALITY)
        jpeg.seek(0)
        self._canvas.drawImage(ImageReader(jpeg), x, y, width, height, preserveAspectRatio=True, anchor="nw")

    def close(self) -> None:
        """Write the file."""
        self._canvas.save()

    def _printable(self, words: str) -> str:
        """The words with a question mark for each character that the font lacks, line breaks among them."""
        return "".join(character if ord(character) in self._glyphs else "?" for character in words)


@cache
def _font() -> tuple[str, dict[int, int]]:
    """The font's name and its glyphs by code point; read when the first page is made."""
    font = TTFont("report", FONT)
    pdfmetrics.registerFont(font)
    return font.fontName, font.face.charToGlyph

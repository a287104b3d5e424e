"""What a contributor gives: checked, and stripped of all that is neither the slice's greys nor plain text."""

import hashlib
import io
import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from PIL import Image

from .contribution_journal import Contribution
from .labels import CLASSES, LESIONS

LONGEST_REPORT = 2000
"""Most characters of a report."""
LONGEST_LINE = 300
"""Most characters of a source, and of a reason for rejecting."""


@dataclass(frozen=True)
class Form:
    """A contribution that is not kept yet.

    Attributes:
        contribution: What is known of it.
        png: Its image, a grey PNG file.
        code: The receipt's code; the contribution holds its SHA-256.
    """

    contribution: Contribution
    png: bytes
    code: str


def fill_form(
    grey: Image.Image, label: str, lesions: Mapping[str, bool] | None, report: str, source: str
) -> Form:
    """Check a contribution; see `ContributionStore.add`.

    Raises:
        ValueError: The picture is not grey, a label is wrong, or a text is too long or no plain text.
    """
    if grey.mode != "L":
        raise ValueError(f"expected a grey slice of mode L, found mode {grey.mode}; read it first.")
    _check_labels(label, lesions)
    code = secrets.token_hex(16)
    greys = grey.tobytes()
    contribution = Contribution(
        id=secrets.token_hex(8),
        status="waiting",
        receipt=receipt_hash(code),
        label=label,
        lesions=dict(lesions) if lesions and label == "COVID" else None,
        report=plain_text(report, "a report", LONGEST_REPORT),
        source=plain_text(source, "a source", LONGEST_LINE),
        day=datetime.now(UTC).date().isoformat(),
        pixels=_sha256(f"{grey.width}x{grey.height} ".encode() + greys),
    )
    stream = io.BytesIO()
    # Anew of the greys: Pillow would write an ICC profile that the picture carries.
    Image.frombytes("L", grey.size, greys).save(stream, "PNG")
    return Form(contribution, stream.getvalue(), code)


def receipt_hash(code: str) -> str:
    """What the store keeps of a receipt's code."""
    return _sha256(code.strip().encode(errors="replace"))


def plain_text(text: str, what: str, longest: int) -> str:
    """A text without spaces around it and with line breaks of one kind.

    Raises:
        ValueError: It is longer than `longest` characters, or holds control characters. The sentence
            calls it `what`.
    """
    text = "\n".join(text.strip().splitlines())
    if len(text) > longest:
        raise ValueError(
            f"expected {what} of at most {longest:,} characters, found {len(text):,}; shorten it."
        )
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text if character not in "\n\t"):
        raise ValueError(f"expected {what} in plain text, found control characters; take them out.")
    return text


def _check_labels(label: str, lesions: Mapping[str, bool] | None) -> None:
    if label not in CLASSES:
        raise ValueError(f"expected the label {' or '.join(CLASSES)}, found {label!r}; choose one.")
    if lesions is None:
        return
    if set(lesions) != set(LESIONS):
        raise ValueError(
            f"expected each of the lesions {', '.join(LESIONS)} to be present or not, found "
            f"{', '.join(map(str, lesions)) or 'none'}; answer all five, or leave all out."
        )
    if label != "COVID" and any(lesions.values()):
        raise ValueError(
            f"expected lesions in a COVID slice alone, found some in a {label} one; correct either."
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

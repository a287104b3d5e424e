"""What a slice's file is, apart from what it shows: the traces by which a file may tell its label."""

import hashlib
import io
from pathlib import PurePath

import numpy as np
from PIL import Image

from .picture_checks import why_blank, why_unlike_ct
from .reading import MIN_SIDE, UnreadableSlice, decode, read_slice

FACTS = (
    "suffix", "bytes", "format", "mode", "width", "height", "aspect", "quality", "border", "border_grey",
    "pixels", "fault", "reason",
)  # fmt: skip
"""What may be found of a file."""
_STANDARD_LUMINANCE = 3689
"""Sum of the luminance table of JPEG's Annex K, which libjpeg scales by the quality."""


def slice_facts(content: bytes, file_name: str) -> tuple[dict, np.ndarray | None]:
    """Decode a slice and describe its file.

    Args:
        content: The image file's bytes.
        file_name: Its name, for the suffix.

    Returns:
        Those of `FACTS` that can be found, and the slice as (height, width) greys of 8 bits, None where there
        is none. The facts:
        `suffix`, `bytes`; `format`, `mode`, `width`, `height`, `aspect` (width over height);
        `quality` of a JPEG, 1 to 100, NaN otherwise; `border`, the share of its rows and columns that
        are of one grey at the edge, 0 to 1, and `border_grey`; `pixels`, a hash of its greys; `fault`
        (`unreadable`, `tiny`, `blank`, `not_ct`) and `reason` where it is no slice to learn from.
    """
    facts = {"suffix": PurePath(file_name).suffix.lower(), "bytes": len(content)}
    try:
        picture = decode(io.BytesIO(content))
    except UnreadableSlice as error:
        return facts | {"fault": "unreadable", "reason": str(error)}, None
    facts |= {
        "format": picture.format,
        "mode": picture.mode,
        "width": picture.width,
        "height": picture.height,
        "aspect": picture.width / picture.height,
        "quality": _jpeg_quality(picture),
    }
    if min(picture.size) < MIN_SIDE:
        return facts | _fault("tiny", f"{picture.width}×{picture.height} pixels"), None
    try:
        slice_ = read_slice(picture)
    except UnreadableSlice as error:
        return facts | _fault("unreadable", str(error)), None
    grey = np.asarray(slice_)
    facts |= {"pixels": hashlib.sha256(grey.tobytes() + str(grey.shape).encode()).hexdigest()}
    facts |= _border(grey)
    if (reason := why_blank(slice_)) is not None:
        facts |= _fault("blank", reason)
    elif (reason := why_unlike_ct(picture, slice_)) is not None:
        facts |= _fault("not_ct", reason)
    return facts, grey


def _fault(fault: str, reason: str) -> dict:
    return {"fault": fault, "reason": reason}


def _jpeg_quality(picture: Image.Image) -> float:
    """The quality that libjpeg would have been given for a JPEG's first quantisation table."""
    tables = getattr(picture, "quantization", None)
    if not tables:
        return float("nan")
    scale = 100 * sum(next(iter(tables.values()))) / _STANDARD_LUMINANCE
    return float(np.clip(100 - scale / 2 if scale <= 100 else 5000 / scale, 1, 100))


def _border(grey: np.ndarray) -> dict:
    flat_rows, flat_columns = np.ptp(grey, axis=1) < 3, np.ptp(grey, axis=0) < 3
    flat = sum(_run(flags) for flags in (flat_rows, flat_rows[::-1], flat_columns, flat_columns[::-1]))
    return {"border": min(1.0, flat / sum(grey.shape)), "border_grey": float(grey[0, 0])}


def _run(flags: np.ndarray) -> int:
    """How many flags are set before the first that is not."""
    return len(flags) if flags.all() else int(np.argmin(flags))

"""What was read of a slice, how its HU become grey, and the refusal of what is none."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .preprocessing_ladnn import apply_window

LUNG_WINDOW = (-600.0, 1500.0)
"""Level and width in HU of the window that the network has learned from."""
MAX_PIXELS = 4096 * 4096
"""Most pixels of a picture: above it a file is a decompression bomb or not a slice, and reading it takes more
than 500 MB."""
MAX_SCANS = 50
"""Most scans of a JPEG picture: each is a few bytes that take as long as all pixels; usual are up to 20."""
START_OF_SCAN = b"\xff\xda"
"""JPEG's and JPEG-LS's marker, which no packed pixels hold."""
MAX_BYTES = 200_000_000
"""Largest file that is opened: Pillow reads whole chunks before it says how many pixels there are."""


class UnreadableSlice(ValueError):
    """A file that holds no slice; its text says what was expected, what was found and what to do."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice and what was read of it; nothing of who it is of."""

    grey: Image.Image
    """Mode `L`."""
    picture: Image.Image | None
    """As decoded, where its mode may hold colour; None for a grey one."""
    format: str
    """`PNG`, `JPEG`, `WEBP`, `BMP`, `TIFF` or `DICOM`; empty for a picture that came decoded."""
    size: tuple[int, int]
    """Width and height in pixels as stored."""
    hu: np.ndarray | None = None
    """float32 (H, W) in HU; None where they are not known."""
    window: tuple[float, float] | None = None
    """Level and width in HU that made `grey` of `hu`; None where there are no HU."""
    doubts: tuple[str, ...] = ()
    """What speaks against its being a chest CT slice in that window, a sentence each."""


def windowed(hu: np.ndarray, window: tuple[float, float]) -> Image.Image:
    """HU as a grey picture.

    Args:
        hu: (H, W) in HU.
        window: Level and width in HU.

    Returns:
        Mode `L`.

    Raises:
        ValueError: The window has no width.
    """
    level, width = window
    if not (0 < width < math.inf and math.isfinite(level)):
        raise ValueError(
            f"expected a window of a width above 0 HU, found level {level:g} and width {width:g}; give "
            "another."
        )
    return Image.fromarray(apply_window(hu, level, width))


def too_many_pixels(found: str, most: int = MAX_PIXELS) -> UnreadableSlice:
    """The refusal of more pixels than a slice has, to be raised before they are decoded."""
    return UnreadableSlice(
        f"expected a slice of at most {most:,} pixels, found {found}; give one slice at its original size."
    )


def too_many_bytes(found: str) -> UnreadableSlice:
    """The refusal of more than `MAX_BYTES`, to be raised before they are read or inflated."""
    return UnreadableSlice(
        f"expected a file of at most {MAX_BYTES:,} bytes, found {found}; give one slice at its original size."
    )

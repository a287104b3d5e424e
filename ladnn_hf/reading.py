"""Any file a user may give → one checked grey slice, or a refusal in one sentence."""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from .preprocessing_ladnn import apply_window, to_grey, turn

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Pillow's names of the formats that are read; all other decoders stay shut."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Files of a folder that are taken for slices."""
MIN_SIDE = 32
"""Shortest side in pixels: below it no lesion can be seen."""
MAX_PIXELS = 25_000_000
"""Most pixels of a picture: above it a file is a decompression bomb or not a slice."""
MAX_BYTES = 200_000_000
"""Largest file that is opened: Pillow reads whole chunks before it says how many pixels there are."""
_DEEP_MODES = ("I", "F")
_WHITE_IS_ZERO = (262, 0)
"""TIFF's tag PhotometricInterpretation and its value for pictures stored inverted."""
_BROKEN = (
    AttributeError, OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, OverflowError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow's decoders raise on bytes that are not what their header says."""


class UnreadableSlice(ValueError):
    """A file that holds no slice; its text says what was expected, what was found and what to do."""


def read_slice(source: str | Path | BinaryIO | Image.Image) -> Image.Image:
    """Read one slice as 8-bit grey.

    Eight-bit pictures are decoded as `transformers.image_utils.load_image` does, so that every way in
    gives the same numbers. Deeper grey pictures, which `load_image` would clip, are scaled: negative
    values mean HU and go through the lung window; 12-bit and 16-bit values are scaled from their
    range; floats up to 1 are scaled by 255.

    Args:
        source: A path, an open binary file, or a picture that is decoded already.

    Returns:
        A picture of mode `L`, at least `MIN_SIDE` pixels on each side.

    Raises:
        UnreadableSlice: There is no file, or no such picture in it.
    """
    picture = source if isinstance(source, Image.Image) else decode(source)
    if min(picture.size) < MIN_SIDE:
        raise UnreadableSlice(
            f"expected a slice of at least {MIN_SIDE}×{MIN_SIDE} pixels, found "
            f"{picture.width}×{picture.height}; give the picture at its original size."
        )
    try:
        return to_grey(_deep_to_grey(picture) if picture.mode.startswith(_DEEP_MODES) else picture)
    except UnreadableSlice:
        raise
    except _BROKEN as error:
        raise UnreadableSlice(
            f"expected a grey or colour picture, found one of mode {picture.mode} that is neither; export "
            "the slice as PNG."
        ) from error


def decode(source: str | Path | BinaryIO) -> Image.Image:
    """Decode the first frame of a picture file as it is, with limits on formats and size.

    Raises:
        UnreadableSlice: As for `read_slice`.
    """
    if not hasattr(source, "read"):
        _check_file(source)
    try:
        with Image.open(source, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnreadableSlice(_too_large(f"{picture.width}×{picture.height}"))
            picture.load()
            return picture
    except UnreadableSlice:
        raise
    except PermissionError as error:
        raise UnreadableSlice(
            "expected an image file, found one that you may not read; change its permissions."
        ) from error
    except Image.DecompressionBombError as error:
        raise UnreadableSlice(_too_large("far more")) from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableSlice(
            f"expected an image ({', '.join(FORMATS)}), found {_kind(source)}; export the slice "
            "as PNG in the lung window."
        ) from error
    except _BROKEN as error:
        raise UnreadableSlice(
            f"expected a whole image file, found a broken one ({_first_line(error)}); export or copy "
            "it again."
        ) from error


def list_slices(paths: Iterable[str]) -> Iterator[str]:
    """The files that arguments mean, in order: a file as given, a folder by its images, sorted.

    A folder's member is the folder as given joined with the relative path. Links to files are
    followed, links to folders inside a folder are not, so that a loop cannot trap the walk. A folder
    without images, or one that may not be read, is yielded itself: it is answered with a refusal.
    """
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found, unreadable = False, []
        for folder, folders, names in os.walk(path, onerror=unreadable.append):
            folders.sort()
            for name in sorted(names):
                if name.lower().endswith(SUFFIXES):
                    found = True
                    yield os.path.join(folder, name)
        yield from (error.filename for error in unreadable)
        if not found and not unreadable:
            yield path


def _deep_to_grey(picture: Image.Image) -> Image.Image:
    tag, white_is_zero = _WHITE_IS_ZERO
    inverted = getattr(picture, "tag_v2", {}).get(tag) == white_is_zero
    values = np.asarray(turn(picture)).astype(np.float32)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)) or high > 65535:
        raise UnreadableSlice(
            f"expected grey values of at most 16 bits, found {low:g} to {high:g}; export the slice as PNG."
        )
    if low < 0:
        return Image.fromarray(apply_window(values))
    top = next(top for top in (1, 255, 4095, 65535) if high <= top)
    if top == 1 and picture.mode != "F":
        top = 255  # integers of 0 and 1 are two dark greys, not a fraction
    if inverted:
        values = top - values
    return Image.fromarray((values * (255 / top)).round().astype(np.uint8))


def _check_file(path: str | Path) -> None:
    if os.path.isdir(path):
        raise UnreadableSlice(
            f"expected images ({', '.join(SUFFIXES)}) in this folder, found none that can be read; name "
            "another folder."
        )
    if not os.path.exists(path):
        raise UnreadableSlice("expected an image file, found none at this path; check the name.")
    if not os.path.isfile(path):
        raise UnreadableSlice(
            "expected an image file, found a device, pipe or socket; copy the slice to a file."
        )
    if (size := os.path.getsize(path)) > MAX_BYTES:
        raise UnreadableSlice(
            f"expected a file of at most {MAX_BYTES:,} bytes, found {size:,}; give one slice at its "
            "original size."
        )


def _too_large(found: str) -> str:
    return (
        f"expected a slice of at most {MAX_PIXELS:,} pixels, found {found}; give one slice at its original "
        "size."
    )


def _kind(source: str | Path | BinaryIO) -> str:
    if hasattr(source, "read"):
        return "something else"
    with open(source, "rb") as stream:
        head = stream.read(132)
    if head.endswith(b"DICM"):
        return "DICOM, which is not read yet"
    return "something else" if head else "an empty file"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]

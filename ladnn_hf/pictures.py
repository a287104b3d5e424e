"""A picture file, or a picture that is decoded already → a slice."""

import struct
import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image

from .metered_stream import MeteredStream
from .preprocessing_ladnn import to_grey, turn
from .slices import (
    MAX_PIXELS,
    MAX_SCANS,
    START_OF_SCAN,
    Slice,
    UnreadableSlice,
    too_many_pixels,
    windowed,
)

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""Pillow's names of the formats that are read; all other decoders stay shut."""
_TIFF_PACKINGS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "lzma", "zstd")
"""Pillow's names of the ways to pack TIFF that are read. Where fax or JPEG inside of it is damaged, libtiff
leaves pixels as the memory was: they might show another's slice."""
_JPEG = b"\xff\xd8"
"""What a JPEG file begins with."""
_DEEP_MODES = ("I", "F")
_WHITE_IS_ZERO = (262, 0)
"""TIFF's tag PhotometricInterpretation and its value for pictures stored inverted."""
_OFFSET = (
    "Its grey values look like HU stored with an offset of 1024, which are read wrongly; give it as DICOM "
    "or as TIFF in HU."
)
_BROKEN = (
    AttributeError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on bytes that are not what their header says."""


def decode(stream: BinaryIO) -> Image.Image:
    """Decode the first frame of a picture file as it is, with limits on formats and size.

    Raises:
        UnreadableSlice: There is no such picture in it.
    """
    metered = MeteredStream(stream)
    try:
        _check_scans(metered)
        metered.begin_head()
        with Image.open(metered, formats=FORMATS) as picture:
            metered.end_head()
            if picture.width * picture.height > MAX_PIXELS:
                raise too_many_pixels(f"{picture.width}×{picture.height}")
            _check_packing(picture)
            picture.load()
            return picture
    except UnreadableSlice:
        raise
    except Image.DecompressionBombError as error:
        raise too_many_pixels("far more") from error
    except Image.UnidentifiedImageError as error:
        stream.seek(0)
        found = "something else" if stream.read(1) else "an empty file"
        raise UnreadableSlice(
            f"expected an image ({', '.join((*FORMATS, 'DICOM'))}), found {found}; export the slice as PNG "
            "in the lung window."
        ) from error
    except _BROKEN as error:
        raise _broken() from error


def _broken() -> UnreadableSlice:
    return UnreadableSlice("expected a whole image file, found a broken one; export or copy it again.")


def _check_packing(picture: Image.Image) -> None:
    packing = picture.info.get("compression")
    if picture.format == "TIFF" and packing not in _TIFF_PACKINGS:
        raise UnreadableSlice(
            f"expected a TIFF that is packed without loss, found one packed as {packing}; export the slice "
            "as PNG."
        )


def _check_scans(stream: MeteredStream) -> None:
    stream.seek(0)
    if stream.read(2) == _JPEG and stream.read().count(START_OF_SCAN) > MAX_SCANS:
        raise OSError("More scans than a slice has.")
    stream.seek(0)


def to_slice(picture: Image.Image, window: tuple[float, float]) -> Slice:
    """A decoded picture as a slice.

    Eight-bit pictures become grey as `transformers.image_utils.load_image` makes them, so that every way
    in gives the same numbers. Deeper grey ones, which `load_image` would clip, are scaled: negative
    values mean HU and go through the window; 12-bit and 16-bit values are scaled from their range;
    floats up to 1 by 255.

    Args:
        picture: Any mode; it may be open and not yet decoded.
        window: Level and width in HU.

    Raises:
        UnreadableSlice: It cannot be decoded, is neither grey nor in colour, or deeper than 16 bits.
        ValueError: The window has no width.
    """
    hu, doubts = None, ()
    try:
        picture.load()
    except _BROKEN as error:
        raise _broken() from error
    try:
        if picture.mode.startswith(_DEEP_MODES):
            values = np.asarray(turn(picture)).astype(np.float32)
            _check_depth(values)
            if values.min() < 0:
                hu = values
            else:
                doubts = (_OFFSET,) if _is_offset(values) else ()
                grey = _scaled(values, picture)
        else:
            grey = _alone(to_grey(picture))
    except UnreadableSlice:
        raise
    except _BROKEN as error:
        raise UnreadableSlice(
            f"expected a grey or colour picture, found one of mode {picture.mode} that is neither; export "
            "the slice as PNG."
        ) from error
    return Slice(
        grey=grey if hu is None else windowed(hu, window),
        picture=None if Image.getmodebase(picture.mode) == "L" else _alone(picture),
        format=picture.format or "",
        size=picture.size,
        hu=hu,
        window=None if hu is None else window,
        doubts=doubts,
    )


def _alone(picture: Image.Image) -> Image.Image:
    """A copy without comments, profile and all else that Pillow carries along and may write again."""
    copy = picture.copy()
    copy.info = {}
    return copy


def _check_depth(values: np.ndarray) -> None:
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)) or high > 65535:
        raise UnreadableSlice(
            f"expected grey values of at most 16 bits, found {low:g} to {high:g}; export the slice as PNG."
        )


def _scaled(values: np.ndarray, picture: Image.Image) -> Image.Image:
    top = next(top for top in (1, 255, 4095, 65535) if values.max() <= top)
    if top == 1 and picture.mode != "F":
        top = 255  # integers of 0 and 1 are two dark greys, not a fraction
    tag, white_is_zero = _WHITE_IS_ZERO
    if getattr(picture, "tag_v2", {}).get(tag) == white_is_zero:
        values = top - values
    return Image.fromarray((values * (255 / top)).round().astype(np.uint8))


def _is_offset(values: np.ndarray) -> bool:
    """Whether air and soft tissue lie where HU with 1024 added have them, and next to nothing above.

    In a lung window that fills 12 bits air lies at about 950 and soft tissue at 3,800.
    """
    tissue = (values > 900) & (values < 1150)
    return bool(tissue.mean() > 0.1 and (values < 300).mean() > 0.1 and (values > 2600).mean() < 0.02)

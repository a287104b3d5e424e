"""A picture file without what is said in it of who and where: the packed pixels stay byte for byte.

Of EXIF the orientation stays, since it says how the pixels lie. TIFF and BMP are written anew, without loss.
"""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image

from .pictures import decode
from .slices import UnreadableSlice

_ORIENTATION = 274
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"acTL", b"fcTL", b"fdAT")
"""Chunks beside the critical ones that say what the pixels are."""
_JPEG_SAID = (*range(0xE1, 0xEE), 0xEF, 0xFE)
"""Segments of applications, but for JFIF's and Adobe's, which say what the colours are; and comments."""
_JPEG_MARK = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
"""A marker in packed pixels; restarts are part of them."""
_WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH")
_WHITE_IS_ZERO = 262
"""TIFF's tag that says whether values are stored inverted."""


def without_metadata(content: bytes) -> bytes:
    """The same picture without comments, EXIF, XMP, IPTC, profiles and what lies behind its end.

    Args:
        content: A picture file.

    Raises:
        UnreadableSlice: It is broken, or too damaged to tell pixels from all else.
    """
    picture = decode(io.BytesIO(content))
    try:
        alone = _alone(content, picture)
        same = decode(io.BytesIO(alone)).tobytes() == picture.tobytes()
    except (OSError, SyntaxError, TypeError, ValueError, LookupError, struct.error):
        same = False
    if not same:
        raise UnreadableSlice(
            "expected a picture whose metadata can be left out, found a damaged one; save it anew."
        )
    return alone


def _alone(content: bytes, picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = picture.getexif().get(_ORIENTATION, 1)
    turned = exif.tobytes() if exif[_ORIENTATION] != 1 else b""
    if content.startswith(_PNG):
        return _PNG + b"".join(_png_chunks(content, turned.removeprefix(b"Exif\0\0")))
    if content.startswith(b"\xff\xd8"):
        return b"\xff\xd8" + b"".join(_jpeg_segments(content, turned))
    if content[8:12] == b"WEBP":
        body = b"WEBP" + b"".join(_webp_chunks(content, turned.removeprefix(b"Exif\0\0")))
        return b"RIFF" + struct.pack("<I", len(body)) + body
    if picture.format == "TIFF":
        return _anew(picture, "TIFF", compression="tiff_adobe_deflate", tiffinfo=_tiff_tags(picture))
    return _anew(picture, "BMP")


def _png_chunks(content: bytes, turned: bytes) -> Iterator[bytes]:
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if kind[:1].isupper() or kind in _PNG_KEPT:
            yield content[at:end]
        if kind == b"IHDR" and turned:
            yield struct.pack(">I", len(turned)) + b"eXIf" + turned
            yield struct.pack(">I", zlib.crc32(b"eXIf" + turned))
        at = end


def _jpeg_segments(content: bytes, turned: bytes) -> Iterator[bytes]:
    if turned:
        yield b"\xff\xe1" + struct.pack(">H", 2 + len(turned)) + turned
    at = 2
    while found := _JPEG_MARK.search(content, at):
        yield content[at : found.start()]  # packed pixels, if any
        marker = found[1][0]
        if marker == 0xD9:
            yield b"\xff\xd9"
            return
        (length,) = struct.unpack_from(">H", content, found.end())
        at = found.end() + length
        if marker not in _JPEG_SAID:
            yield b"\xff" + found[1] + content[found.end() : at]
    raise ValueError("no end, so that anything may follow the pixels")


def _webp_chunks(content: bytes, turned: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        end = at + 8 + length + length % 2
        if kind == b"VP8X":
            # Its flags say that EXIF, XMP and a profile follow.
            flags = content[at + 8] & ~0x2C | (0x08 if turned else 0)
            yield content[at : at + 8] + bytes([flags]) + content[at + 9 : end]
        elif kind in _WEBP_KEPT:
            yield content[at:end]
        at = end
    if turned:
        yield b"EXIF" + struct.pack("<I", len(turned)) + turned + bytes(len(turned) % 2)


def _tiff_tags(picture: Image.Image) -> dict[int, int]:
    # Pillow has turned pictures of 8 bits back already.
    kept = (_ORIENTATION, _WHITE_IS_ZERO) if picture.mode.startswith(("I", "F")) else (_ORIENTATION,)
    return {tag: picture.tag_v2[tag] for tag in kept if tag in picture.tag_v2}


def _anew(picture: Image.Image, form: str, **how: Any) -> bytes:
    alone, stream = picture.copy(), io.BytesIO()  # of the file itself Pillow would write more tags
    alone.info = {}
    alone.save(stream, form, **how)
    return stream.getvalue()

"""A frame of a DICOM file → a slice, in HU where the file says how its values become HU."""

import contextlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from .dicom_tags import TAGS, check_picture, code, count, doubts, rescale
from .metered_stream import MeteredStream
from .preprocessing_ladnn import to_grey
from .slices import MAX_BYTES, Slice, UnreadableSlice, too_many_bytes, windowed

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
"""Files of a folder that are taken for DICOM; so are those without a suffix that begin as DICOM does."""
PREAMBLE = 132
"""Bytes of a file up to and with the letters DICM."""
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
"""Groups of tags with which a file without preamble begins."""
_AIR = -1000.0
"""HU that stand where the scanner says that it measured nothing."""
_AIRY = (-500.0, 0.05)
"""HU below which lungs and air lie, and the least share of them in a chest slice."""
_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError,
    OSError, RuntimeError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and its decoders raise on bytes that are not what their header says."""


def is_dicom(head: bytes, suffix: str) -> bool:
    """Whether a file is DICOM: by its preamble, or without one by its suffix and first tag.

    Args:
        head: Its first 132 bytes.
        suffix: Of its name, with the dot.
    """
    return head[128:PREAMBLE] == b"DICM" or (suffix.lower() in DICOM_SUFFIXES and head[:2] in _FIRST_GROUPS)


def count_frames(stream: BinaryIO) -> int:
    """How many frames a DICOM file has; their pixels are left unread.

    Raises:
        UnreadableSlice: The file is broken, or says that it has more than `MAX_FRAMES`.
    """
    with refused_in_silence():
        return count(parse(MeteredStream(stream))[1])


def read_frame(stream: BinaryIO, window: tuple[float, float], frame: int | None) -> Slice:
    """Read one frame of a DICOM file, whatever window the file itself asks for.

    Args:
        stream: The whole file.
        window: Level and width in HU.
        frame: Counted from 0; None for the only one.

    Raises:
        UnreadableSlice: The file is broken, too large or of another modality, its compression is not
            known, or it has several frames and none is named.
        ValueError: The window has no width.
    """
    with refused_in_silence():
        stream, header, syntax = parse(MeteredStream(stream))
        check_picture(header)
        at = _which(frame, count(header))
        stored = _stored(stream, syntax, at)
        said = doubts(header, at)
        to_hu = rescale(header, at) if stored.ndim == 2 else None
        if to_hu is None:
            picture = Image.fromarray(_eight_bits(header, stored))
            said.append("The file does not say how its values become HU; it is taken for a picture.")
        else:
            hu, airy = _hounsfield(header, stored, *to_hu)
            if airy < _AIRY[1]:
                said.append(
                    f"Only {airy:.0%} of the slice lies below {_AIRY[0]:g} HU, as lungs and air do; the file "
                    "may say wrongly how its values become HU."
                )
    size = stored.shape[1::-1]
    if to_hu is None:
        colour = None if picture.mode == "L" else picture
        return Slice(to_grey(picture), colour, "DICOM", size, doubts=tuple(said))
    return Slice(windowed(hu, window), None, "DICOM", size, hu, window, tuple(said))


def parse(stream: BinaryIO, tags: Sequence[str] = TAGS) -> tuple[BinaryIO, "Dataset", "UID"]:
    """The same file, inflated if need be, these of its tags, and its transfer syntax; pixels are left unread.

    Raises:
        UnreadableSlice: It is too large inflated; what pydicom raises on a broken one is for
            `refused_in_silence`.
    """
    from pydicom import dcmread, uid
    from pydicom.filereader import read_dataset, read_preamble

    read_preamble(stream, force=True)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
        # Here and not by pydicom, which knows no limit.
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(), MAX_BYTES + 1)
        if len(inflated) > MAX_BYTES:
            raise too_many_bytes("more once it is inflated")
        stream = MeteredStream(io.BytesIO(inflated))
    stream.seek(0)
    header = dcmread(stream, stop_before_pixels=True, force=True, specific_tags=list(tags))
    guess = uid.ImplicitVRLittleEndian if header.original_encoding[0] else uid.ExplicitVRLittleEndian
    return stream, header, header.file_meta.get("TransferSyntaxUID") or guess


def _which(frame: int | None, frames: int) -> int:
    if frame is None and frames > 1:
        raise UnreadableSlice(
            f"expected one slice, found {frames} frames; name one or save each as a file of its own."
        )
    if not 0 <= (at := frame or 0) < frames:
        raise UnreadableSlice(f"expected a frame from 0 to {frames - 1}, found {at}; name another.")
    return at


def _stored(stream: BinaryIO, syntax: "UID", at: int) -> np.ndarray:
    """The values of a frame as stored: (H, W), or (H, W, 3) in RGB."""
    from pydicom.pixels import pixel_array
    from pydicom.uid import UncompressedTransferSyntaxes

    from .dicom_codecs import PLUGIN, is_available

    plugin = PLUGIN if is_available(syntax) else ""
    try:
        return pixel_array(stream, index=at, transfer_syntax_uid=syntax, decoding_plugin=plugin)
    except _BROKEN:
        if syntax in UncompressedTransferSyntaxes:
            raise
        name = "an unknown compression" if syntax.name == syntax else syntax.name
        raise UnreadableSlice(
            f"expected pixels that can be decoded, found broken ones or a kind of {name} that is not read; "
            "export the slice uncompressed."
        ) from None


def _hounsfield(
    header: "Dataset", stored: np.ndarray, slope: float, intercept: float
) -> tuple[np.ndarray, float]:
    """(H, W) in HU, and the share of lungs and air in what was measured."""
    # MONOCHROME1 says how values are shown, not what they measure: here it changes nothing.
    hu = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    padding = header.get("PixelPaddingValue")
    if padding is None:
        return hu, float((hu < _AIRY[0]).mean())
    limit = header.get("PixelPaddingRangeLimit")
    # Of the pixels' type: some files write 63536 where signed pixels hold -2000.
    ends = np.array([padding, padding if limit is None else limit]).astype(stored.dtype)
    padded = (stored >= ends.min()) & (stored <= ends.max())
    airy = float((hu < _AIRY[0]).mean(where=~padded)) if not padded.all() else 0.0
    hu[padded] = _AIR
    return hu, airy


def _eight_bits(header: "Dataset", stored: np.ndarray) -> np.ndarray:
    colours = code(header, "PhotometricInterpretation")
    if stored.ndim == 2 and colours not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnreadableSlice(
            f"expected grey or RGB, found a DICOM file in {colours or 'other colours'}; export the slice as "
            "PNG."
        )
    top = 2**header.BitsStored - 1
    values = stored.astype(np.float32) + ((top + 1) // 2 if header.PixelRepresentation else 0)
    if colours == "MONOCHROME1":
        values = top - values
    return (values * (255 / top)).round().clip(0, 255).astype(np.uint8)


@contextlib.contextmanager
def refused_in_silence() -> Iterator[None]:
    """Pass nothing on of what pydicom says: errors, warnings and logs quote values, maybe a patient's."""
    from pydicom.errors import BytesLengthException

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    # For good: catch_warnings would put filters back in the midst of another thread's reading.
    warnings.filterwarnings("ignore", module="pydicom")
    try:
        yield
    except UnreadableSlice:
        raise
    except (*_BROKEN, BytesLengthException):
        raise UnreadableSlice(
            "expected a whole DICOM file, found a broken one; export or copy it again."
        ) from None

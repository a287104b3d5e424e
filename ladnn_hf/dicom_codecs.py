"""JPEG, JPEG-LS, JPEG 2000 and RLE in DICOM files: a plugin of pydicom's that decodes with imagecodecs.

GDCM, which pydicom would take, ends the process on some broken files, and those come from anyone; pydicom's
own RLE decoder unpacks 20 MB to more than a gigabyte before it looks how many pixels there are.
"""

import struct

import numpy as np
from pydicom import uid
from pydicom.pixels import get_decoder
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner

from .slices import MAX_SCANS, START_OF_SCAN

PLUGIN = "imagecodecs"
"""Its name at pydicom."""
_DECODERS = {
    uid.JPEGBaseline8Bit: "jpeg8_decode",
    uid.JPEGExtended12Bit: "jpeg8_decode",
    uid.JPEGLossless: "jpeg8_decode",
    uid.JPEGLosslessSV1: "jpeg8_decode",
    uid.JPEGLSLossless: "jpegls_decode",
    uid.JPEGLSNearLossless: "jpegls_decode",
    uid.JPEG2000Lossless: "jpeg2k_decode",
    uid.JPEG2000: "jpeg2k_decode",
}
_SYNTAXES = (*_DECODERS, uid.RLELossless)
_START_OF_FRAME = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)
"""Markers of JPEG's and JPEG-LS's header: baseline, extended, progressive, lossless, JPEG-LS."""
_JPEG_2000 = b"\xff\x4f\xff\x51"
_END = b"\xff\xd9"
"""What closes a frame of each kind, before a zero that makes its length even."""


def is_available(syntax: str) -> bool:
    """Whether the plugin decodes a transfer syntax; pydicom asks."""
    return syntax in _SYNTAXES


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame; pydicom calls it.

    Raises:
        ValueError: The frame is of another size than the file says, or broken; imagecodecs' errors, which
            are `RuntimeError`, likewise.
    """
    import imagecodecs

    if runner.transfer_syntax == uid.RLELossless:
        dtype = np.dtype(f"<u{runner.bits_allocated // 8}")
        runner.set_option("planar_configuration", 1)
        # The length is a limit, too: no more is unpacked.
        return imagecodecs.dicomrle_decode(source, dtype, out=runner.frame_length())
    # Before it is decoded: a few bytes may claim any number of pixels.
    if _layout(source) != (runner.columns, runner.rows, runner.samples_per_pixel):
        raise ValueError("The frame is not of the size that the file says.")
    if source.count(START_OF_SCAN) > MAX_SCANS:
        raise ValueError("The frame has more scans than a slice has.")
    if not source.rstrip(b"\0").endswith(_END):
        raise ValueError("The frame is cut off, which not every decoder says.")
    values = getattr(imagecodecs, _DECODERS[runner.transfer_syntax])(source)
    runner.set_option("bits_allocated", 8 * values.itemsize)
    if values.ndim == 3:
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
        runner.set_option("planar_configuration", 0)
    return values.tobytes()


def _layout(source: bytes) -> tuple[int, int, int]:
    """Width, height and samples a pixel, as the frame itself says."""
    if source.startswith(_JPEG_2000):
        right, lower, left, upper = struct.unpack_from(">4I", source, 8)
        return right - left, lower - upper, *struct.unpack_from(">H", source, 40)
    at = 2
    while source[at + 1] not in _START_OF_FRAME:
        at += 2 + struct.unpack_from(">H", source, at + 2)[0]
    height, width, samples = struct.unpack_from(">HHB", source, at + 5)
    return width, height, samples


# At import, which happens once whatever the threads: pydicom refuses a plugin that it has already.
for _syntax in _SYNTAXES:
    get_decoder(_syntax).add_plugin(PLUGIN, (__name__, decode_frame.__name__))

"""Which DICOM series a file belongs to, and where its slice lies in the body."""

import contextlib
import hashlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .dicom import PREAMBLE, is_dicom, parse, refused_in_silence
from .metered_stream import MeteredStream
from .slices import UnreadableSlice

_TAGS = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber")


def series_place(source: str | Path | BinaryIO) -> tuple[str, float] | None:
    """The series of a DICOM file, and the place of its slice in it; the pixels are left unread.

    Args:
        source: Any file, by its path or open.

    Returns:
        A name of the series that does not give away its UID, and a number that rises along the body: the
        place on the slices' normal in mm, else the number of the file in its series. None for what is no
        DICOM, is broken or is not there.
    """
    is_open = hasattr(source, "read")
    try:
        with contextlib.nullcontext(source) if is_open else open(source, "rb") as stream:
            name = getattr(source, "name", "") if is_open else source
            if not is_dicom(stream.read(PREAMBLE), Path(str(name)).suffix):
                return None
            stream.seek(0)
            with refused_in_silence():
                _, header, _ = parse(MeteredStream(stream), _TAGS)
                series = hashlib.sha256(str(header.get("SeriesInstanceUID")).encode()).hexdigest()[:12]
                return series, _place(header)
    except (UnreadableSlice, OSError):
        return None


def _place(header) -> float:
    position, plane = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if position and plane:
        return float(np.dot(np.cross(plane[:3], plane[3:]), position))
    return float(header.get("InstanceNumber") or 0)

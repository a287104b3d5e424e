"""What a DICOM file's tags say of a frame: if it may be a CT slice, how it becomes HU, what is in doubt.

None of the tags names a patient, and of what a file says only numbers and the codes of its modality and
colours go into a message.
"""

import re
from typing import TYPE_CHECKING

from .slices import UnreadableSlice, too_many_pixels

if TYPE_CHECKING:
    from pydicom import Dataset

TAGS = (
    "ImageType", "Modality", "BodyPartExamined", "ImageOrientationPatient", "PhotometricInterpretation",
    "NumberOfFrames", "Rows", "Columns", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "BurnedInAnnotation", "RescaleIntercept",
    "RescaleSlope", "RescaleType", "LossyImageCompression", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
"""All that is looked at beside the pixels."""
MAX_DICOM_PIXELS = 2048 * 2048
"""Most pixels of a frame: no scanner gives more, and JPEG 2000 takes a second for so many."""
MAX_FRAMES = 10_000
"""Most frames of a file: a few letters may claim billions, and a page would list them."""
_CT = ("CT", "")
"""Modalities whose values become HU; some who take names out of files take this out too."""
_UNSAID = ("OT", "SC", "")
"""Other, secondary capture, none: the picture may be a CT slice."""
_CHEST = ("CHEST", "LUNG", "THORA")
_LEAST_AXIAL = 0.8
"""Least cosine between the normal of an axial slice and the patient's long axis: a tilt of 37°."""


def check_picture(header: "Dataset") -> None:
    """Refuse what holds no slice that can be read, before its pixels are decoded.

    Raises:
        UnreadableSlice: It is of another modality, without picture, too large, or laid out in another way.
    """
    modality = code(header, "Modality")
    if modality not in (*_CT, *_UNSAID):
        raise UnreadableSlice(
            f"expected a CT slice, found a DICOM file of modality {modality}; give a slice of a CT series."
        )
    if "Rows" not in header:
        raise UnreadableSlice(
            "expected a DICOM file with a picture, found one without; give a slice of a CT series."
        )
    if header.Columns * header.Rows > MAX_DICOM_PIXELS:
        raise too_many_pixels(f"{header.Columns:d}×{header.Rows:d}", MAX_DICOM_PIXELS)
    if header.HighBit != header.BitsStored - 1:
        raise UnreadableSlice(
            f"expected a DICOM file with its high bit at {header.BitsStored - 1:d}, found "
            f"{header.HighBit:d}; export the slice again."
        )


def count(header: "Dataset") -> int:
    """How many frames there are.

    Raises:
        UnreadableSlice: The file says that it has more than `MAX_FRAMES`.
    """
    frames = max(int(header.get("NumberOfFrames") or 1), 1)
    if frames > MAX_FRAMES:
        raise UnreadableSlice(
            f"expected at most {MAX_FRAMES:,} frames, found {frames:,}; give a part of the series."
        )
    return frames


def rescale(header: "Dataset", frame: int) -> tuple[float, float] | None:
    """Slope and intercept that make HU of a frame's values; None where the file does not say.

    Raises:
        UnreadableSlice: They cannot give HU.
    """
    said = _groups(header, frame, "PixelValueTransformationSequence")
    slope, intercept = said.get("RescaleSlope"), said.get("RescaleIntercept")
    if code(header, "Modality") not in _CT or code(said, "RescaleType") not in ("HU", "US", ""):
        return None
    if slope is None or intercept is None:
        return None
    if not (0 < slope <= 1_000 and abs(intercept) <= 100_000):
        raise UnreadableSlice(
            f"expected a rescale that gives HU, found slope {slope:g} and intercept {intercept:g}; export "
            "the slice again."
        )
    return float(slope), float(intercept)


def doubts(header: "Dataset", frame: int) -> list[str]:
    """What speaks against a frame's being an axial slice of the chest as it was measured, a sentence each."""
    body = code(header, "BodyPartExamined")
    plane = _groups(header, frame, "PlaneOrientationSequence").get("ImageOrientationPatient")
    x, y, _, u, v, _ = plane or (1, 0, 0, 0, 1, 0)
    holds = {
        "The file does not say that it is CT.": code(header, "Modality") in _UNSAID,
        "The file says that it shows another part of the body than the chest.": (
            body and not any(part in body for part in _CHEST)
        ),
        "The file says that it is a localizer, not a slice.": "LOCALIZER" in (header.get("ImageType") or ()),
        "The file says that its plane is not axial.": abs(x * v - y * u) < _LEAST_AXIAL,
        "The file says that it was compressed with loss.": header.get("LossyImageCompression") == "01",
        "The file says that text is burned into the picture.": code(header, "BurnedInAnnotation") == "YES",
    }
    return [doubt for doubt, holds in holds.items() if holds]


def code(dataset: "Dataset", keyword: str) -> str:
    """The text of a tag in capitals if it is a code, as the standard has it; else nothing."""
    text = str(dataset.get(keyword) or "").strip().upper()
    return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else ""


def _groups(header: "Dataset", frame: int, sequence: str) -> "Dataset":
    """Where an enhanced CT says of one frame, or of all, what a plain one says at the top."""
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in (*each[frame : frame + 1], *shared):
        if groups.get(sequence):
            return groups[sequence][0]
    return header

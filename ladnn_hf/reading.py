"""Any file a user may give → one checked slice, or a refusal in one sentence."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from .burned_in_text import doubt_of_text
from .dicom import DICOM_SUFFIXES, PREAMBLE, count_frames, is_dicom, read_frame
from .pictures import decode, to_slice
from .slices import LUNG_WINDOW, MAX_BYTES, Slice, UnreadableSlice, too_many_bytes, windowed

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Pictures of a folder that are taken for slices; so are `DICOM_SUFFIXES`."""
MIN_SIDE = 32
"""Shortest side in pixels: below it no lesion can be seen."""
_SEVERAL = "Its file holds several pictures, of which the first is read; save each as a file of its own."


def open_slice(
    source: str | Path | BinaryIO | Image.Image,
    *,
    window: tuple[float, float] = LUNG_WINDOW,
    frame: int | None = None,
) -> Slice:
    """Read one slice, and what is known of it.

    CT in DICOM is read in HU and put through the window, whatever window the file itself asks for; how
    pictures become grey stands at `ladnn_hf.pictures.to_slice`.

    Args:
        source: A path, an open binary file, or a picture that is decoded already.
        window: Level and width in HU, for what is in HU.
        frame: Of a DICOM file with several, counted from 0. Of a moving picture the first is read.

    Returns:
        A slice of at least `MIN_SIDE` pixels on each side.

    Raises:
        UnreadableSlice: There is no file, no slice in it, or more than one.
        ValueError: The window has no width.
    """
    slice_ = _read(source, window, frame)
    if min(slice_.size) < MIN_SIDE:
        width, height = slice_.size
        raise UnreadableSlice(
            f"expected a slice of at least {MIN_SIDE}×{MIN_SIDE} pixels, found {width}×{height}; give the "
            "picture at its original size."
        )
    doubt = doubt_of_text(slice_.grey)
    return replace(slice_, doubts=(*slice_.doubts, doubt)) if doubt else slice_


def read_slice(source: str | Path | BinaryIO | Image.Image) -> Image.Image:
    """Read one slice as 8-bit grey (mode `L`) in the lung window, as `open_slice` does."""
    return open_slice(source).grey


def with_window(slice_: Slice, window: tuple[float, float]) -> Slice:
    """The same slice in another window.

    Args:
        slice_: One in HU.
        window: Level and width in HU.

    Raises:
        ValueError: The slice is not in HU, or the window has no width.
    """
    if slice_.hu is None:
        raise ValueError(
            "expected a slice in HU, found grey values that are windowed already; give it as DICOM."
        )
    return replace(slice_, grey=windowed(slice_.hu, window), window=window)


def frame_count(source: str | Path | BinaryIO) -> int:
    """How many slices a file holds: the frames of a DICOM file, else 1.

    Raises:
        UnreadableSlice: There is no file, or a DICOM file that is broken.
    """
    with _opened(source) as stream:
        return count_frames(stream) if _holds_dicom(source, stream) else 1


def list_slices(paths: Iterable[str]) -> Iterator[str]:
    """The files that arguments mean, in order: a file as given, a folder by its slices, sorted.

    A folder's member is the folder as given joined with the relative path. Links to files are
    followed, links to folders inside a folder are not, so that a loop cannot trap the walk. A folder
    without slices, or one that may not be read, is yielded itself: it is answered with a refusal.
    """
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        found, unreadable = False, []
        for folder, folders, names in os.walk(path, onerror=unreadable.append):
            folders.sort()
            for name in sorted(names):
                if is_slice(member := os.path.join(folder, name)):
                    found = True
                    yield member
        yield from (error.filename for error in unreadable)
        if not found and not unreadable:
            yield path


def has_suffix(name: str) -> bool:
    """Whether a file is taken for a slice by its name."""
    return os.path.splitext(name)[1].lower() in SUFFIXES + DICOM_SUFFIXES


def has_bare_name(name: str) -> bool:
    """Whether a file may be DICOM without a suffix of it.

    Exported series have bare names (IM000001), or UIDs, which end in a number; DICOMDIR is their index.
    """
    return not os.path.splitext(name)[1].strip(".0123456789") and os.path.basename(name) != "DICOMDIR"


def is_slice(path: str) -> bool:
    """Whether a file of a folder is taken for a slice; without a suffix it is looked into."""
    if has_suffix(path):
        return True
    if not (has_bare_name(path) and os.path.isfile(path)):
        return False
    try:
        with open(path, "rb") as stream:
            return is_dicom(stream.read(PREAMBLE), "")
    except OSError:
        return False


def _read(
    source: str | Path | BinaryIO | Image.Image, window: tuple[float, float], frame: int | None
) -> Slice:
    if isinstance(source, Image.Image):
        return to_slice(source, window)
    with _opened(source) as stream:
        if _holds_dicom(source, stream):
            return read_frame(stream, window, frame)
        picture = decode(stream)
    slice_ = to_slice(picture, window)
    if not getattr(picture, "is_animated", False):  # formats of one picture alone do not know the word
        return slice_
    return replace(slice_, doubts=(*slice_.doubts, _SEVERAL))


def _holds_dicom(source: str | Path | BinaryIO, stream: BinaryIO) -> bool:
    stream.seek(0)
    head = stream.read(PREAMBLE)
    stream.seek(0)
    name = getattr(source, "name", "") if stream is source else source
    return is_dicom(head, os.path.splitext(str(name))[1])


@contextlib.contextmanager
def _opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    if hasattr(source, "read"):
        yield source
        return
    _check_file(source)
    try:
        stream = open(source, "rb")
    except PermissionError as error:
        raise UnreadableSlice(
            "expected an image file, found one that you may not read; change its permissions."
        ) from error
    with stream:
        yield stream


def _check_file(path: str | Path) -> None:
    if os.path.isdir(path):
        if os.path.isfile(next(list_slices([str(path)]))):
            raise UnreadableSlice(
                "expected an image file, found a folder of them; give its files, which "
                "`ladnn_hf.reading.list_slices` lists."
            )
        raise UnreadableSlice(
            f"expected images ({', '.join(SUFFIXES + DICOM_SUFFIXES)}) in this folder, found none that can "
            "be read; name another folder."
        )
    if not os.path.exists(path):
        raise UnreadableSlice(
            "expected an image file, found none at this path; check the name, or give it again."
        )
    if not os.path.isfile(path):
        raise UnreadableSlice(
            "expected an image file, found a device, pipe or socket; copy the slice to a file."
        )
    if (size := os.path.getsize(path)) > MAX_BYTES:
        raise too_many_bytes(f"{size:,}")

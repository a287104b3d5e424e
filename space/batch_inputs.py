"""What was given to the batch tab, slice by slice: files, members of zips, frames and series of DICOM."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path

from texts import failure, text

from ladnn_hf.archives import Reader, list_zip
from ladnn_hf.dicom_series import series_place
from ladnn_hf.reading import SUFFIXES, frame_count, open_slice
from ladnn_hf.slices import Slice, UnreadableSlice

Source = Callable[[], str | io.BytesIO | UnreadableSlice]
"""Opens a file, or says why it cannot be had."""
MOST_SLICES = 1000
"""Slices of a batch at most."""


@dataclass(frozen=True)
class Given:
    """One slice of a batch."""

    name: str
    """As the giver knows it: the file's name, with the member of a zip or the frame after it."""
    open: Callable[[], str | io.BytesIO | Slice | UnreadableSlice]
    """Gives what `Predictor.predict` takes."""
    series: str | None = None
    """Which DICOM series it belongs to, None for a picture."""


def expand(paths: Sequence[str]) -> list[Given]:
    """The slices in uploaded files; those of a DICOM series in the order in which they lie in the body.

    A file that cannot be read is one slice, which will be refused: it never stops the others.
    """
    given, placed = [], []
    for name, source in chain.from_iterable(map(_files, paths)):
        place = None if name.lower().endswith(SUFFIXES) else _place(source)
        if place is None:
            given.append(Given(name, source))
        else:
            placed.append((place, name, source))
    for (series, _), name, source in sorted(placed, key=itemgetter(0)):
        given += _frames(name, source, series)
    return given


def expand_some(paths: Sequence[str] | None, language: str) -> list[Given]:
    """As `expand`.

    Args:
        paths: Of what a visitor gave; None for nothing.
        language: Of the visitor.

    Raises:
        gr.Error: There are no files, or more slices than a batch may hold.
    """
    if not paths:
        raise failure(text("no_files", language), language)
    given = expand(paths)
    if len(given) > MOST_SLICES:
        raise failure(text("too_many_files", language, most=MOST_SLICES, found=len(given)), language)
    return given


def _files(path: str) -> Iterator[tuple[str, Source]]:
    """A file, or each slice of a zip: how the giver knows it, and how it is opened."""
    name = Path(path).name
    if not name.lower().endswith(".zip"):
        yield name, lambda: path
        return
    try:
        members = list_zip(Path(path))
        if not members:
            raise ValueError(f"{path}: expected slices inside the zip, found none; zip images or DICOM.")
    except ValueError as error:
        refusal = UnreadableSlice(_without_path(error, path))
        yield name, lambda: refusal
        return
    for member, read in members.items():
        yield f"{name}/{member}", partial(_unpacked, read, path, member)


def _opened(source: Source) -> str | io.BytesIO:
    opened = source()
    if isinstance(opened, UnreadableSlice):
        raise opened
    return opened


def _place(source: Source) -> tuple[str, float] | None:
    try:
        return series_place(_opened(source))
    except UnreadableSlice:
        return None


def _unpacked(read: Reader, path: str, member: str) -> io.BytesIO | UnreadableSlice:
    try:
        stream = io.BytesIO(read())
        stream.name = member  # by whose suffix DICOM without a preamble is known
        return stream
    except ValueError as error:
        return UnreadableSlice(_without_path(error, path))


def _without_path(error: ValueError, path: str) -> str:
    """The sentence without the place on the server, and without the file's name, which stands beside it."""
    return str(error).removeprefix(f"{path}: ").removeprefix(f"{path}, ").replace(path, Path(path).name)


def _frames(name: str, source: Source, series: str) -> Iterator[Given]:
    try:
        count = frame_count(_opened(source))
    except UnreadableSlice:
        count = 1  # it will be refused, with the reason, when it is read
    if count == 1:
        yield Given(name, source, series)
        return
    for frame in range(count):
        yield Given(f"{name}#{frame + 1}", partial(_frame, source, frame), series)


def _frame(source: Source, frame: int) -> Slice | UnreadableSlice:
    try:
        return open_slice(_opened(source), frame=frame)
    except UnreadableSlice as error:
        return error

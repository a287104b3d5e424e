"""What is done with an uploaded file of each format; each reader raises `ValueError` for a refusal."""

import io
import tempfile
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
from fuzz_seeds import GREY, saved_slices

from ladnn_hf.archives import list_zip
from ladnn_hf.dicom_series import series_place
from ladnn_hf.lungs_ladnn import lung_box
from ladnn_hf.picture_checks import why_blank, why_unlike_ct
from ladnn_hf.reading import frame_count, open_slice
from ladnn_hf.slice_shards import shards_of
from ladnn_hf.slices import UnreadableSlice

Reader = Callable[[bytes], None]
SUFFIXES = {"DICOM": ".dcm", "zip": ".zip", "Parquet": ".parquet"}
NAMED = ("zip", "CSV", "Arrow", "Parquet")
"""Formats whose refusals begin with the path that the user named."""


def reader(kind: str, folder: Path) -> Reader:
    """What reads a file's content, of a format of `fuzz_seeds.SEEDS`, by way of an empty folder."""
    if kind == "CSV":
        return _csv_reader(folder)
    if kind == "Arrow":
        return _arrow_reader(folder)
    path = folder / f"uploaded{SUFFIXES.get(kind, '.bin')}"
    read = {"zip": _read_zip, "Parquet": _read_tables}.get(kind, _read_slice)

    def read_content(content: bytes) -> None:
        path.write_bytes(content)
        read(path)

    return read_content


def _read_slice(path: Path) -> None:
    """All that is done with a slice before the network sees it; of several frames the first.

    It is read twice: pixels that differ were never in the file.
    """
    series_place(path)
    frame = 0 if frame_count(path) > 1 else None
    pixels = _look_at(path, frame)
    dirt = [np.full(pixels.shape, 77, np.uint8) for _ in range(8)]
    del dirt
    if not np.array_equal(pixels, _look_at(path, frame)):
        raise AssertionError("pixels that are not in the file but in the memory")


def _read_zip(path: Path) -> None:
    """Every image of a zip."""
    _do_each(partial(_look_into, read) for read in list_zip(path).values())


def _read_tables(path: Path) -> None:
    """Every row of a Parquet file or a saved data set, as `ladnn predict` reads them."""
    _do_each(partial(_look_at, slice_) for shard in shards_of([str(path)]) for _, slice_ in shard.slices())


def _do_each(steps: Iterable[Callable[[], object]]) -> None:
    """Do all: the refusal of one does not stop the others, another error does."""
    refusals = []
    for step in steps:
        try:
            step()
        except ValueError as error:
            if type(error) not in (ValueError, UnreadableSlice):
                raise
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _look_into(read: Callable[[], bytes]) -> None:
    _look_at(io.BytesIO(read()))


def _look_at(source: Path | io.BytesIO | UnreadableSlice, frame: int | None = None) -> np.ndarray:
    if isinstance(source, UnreadableSlice):
        raise source
    slice_ = open_slice(source, frame=frame)
    if reason := why_blank(slice_.grey) or why_unlike_ct(slice_.picture or slice_.grey, slice_.grey):
        raise UnreadableSlice(reason)
    lung_box(slice_.grey)
    return np.asarray(slice_.grey)


def _csv_reader(folder: Path) -> Reader:
    """Makes a data set of a folder with such a `metadata.csv`."""
    from ladnn_hf.from_folder import build_from_folder

    for number in range(3):
        GREY.save(folder / f"{number}.png")

    def read(content: bytes) -> None:
        (folder / "metadata.csv").write_bytes(content)
        with tempfile.TemporaryDirectory() as output, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build_from_folder(folder, output=Path(output) / "slices")

    return read


def _arrow_reader(folder: Path) -> Reader:
    """Reads all rows of a saved data set with such a file of rows, to train on and to answer."""
    from ladnn_hf.slice_dataset import image_bytes, load_slices, stream_rows

    rows = saved_slices(folder / "slices")

    def train_on() -> None:
        for row in stream_rows(load_slices(folder / "slices")["train"]):
            _look_at(io.BytesIO(image_bytes(row["image"])))

    def read(content: bytes) -> None:
        rows.unlink()  # what is mapped still is not written over
        rows.write_bytes(content)
        _do_each((train_on, partial(_read_tables, folder / "slices")))

    return read

"""Data sets of labelled CT slices: their features, one row from a file's bytes, saving and loading."""

import hashlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow
from datasets import (
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    Image,
    List,
    Value,
    concatenate_datasets,
    load_from_disk,
)
from datasets.arrow_writer import ArrowWriter
from datasets.table import InMemoryTable
from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from tqdm import tqdm

from .labels import CLASSES, LESIONS
from .reading import UnreadableSlice, decode

FEATURES = Features(
    {
        "image": Image(),
        "label": ClassLabel(names=list(CLASSES)),
        "lesions": List(Value("float32"), length=len(LESIONS)),
        "file_name": Value("string"),
        "patient_id": Value("string"),
        "caption": Value("string"),
        "source": Value("string"),
        "format": Value("string"),
        "mode": Value("string"),
        "width": Value("int32"),
        "height": Value("int32"),
    }
)
"""Features of every slice data set: `lesions` holds 0, 1 or NaN (no label) in the order of `LESIONS`;
`source` is the paper (DOI) or collection that printed or published the slice, null where unknown;
`format` and `mode` are Pillow's words for the file as found; `width` and `height` are in pixels."""

SPLITS = ("train", "validation", "test")
"""The usual splits, in the order in which they are used."""

NO_LESIONS = (float("nan"),) * len(LESIONS)
"""Lesion labels of a slice that has none."""

_BROKEN = (AttributeError, KeyError, OSError, TypeError, ValueError, pyarrow.ArrowException)
"""What datasets and pyarrow raise on files that are not what their headers say."""

_BATCH_BYTES = 32_000_000
"""Bytes of images that are held before they are written."""


@dataclass(frozen=True)
class SliceFile:
    """A slice that is still in its file, and what is known of it.

    `where` is the table and row, or the folder, that names the file: errors begin with it. The other
    facts are those of `FEATURES`.
    """

    where: str
    read: Callable[[], bytes]
    file_name: str
    label: str
    lesions: tuple[float, ...] = NO_LESIONS
    patient_id: str | None = None
    caption: str | None = None
    source: str | None = None

    def row(self) -> dict:
        """Read the file: its row of `FEATURES`.

        Raises:
            ValueError: The file cannot be read or does not decode.
        """
        facts = {name: value for name, value in vars(self).items() if name not in ("where", "read")}
        content = self.read()
        try:
            return slice_row(content, **facts)
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}") from error


def slice_row(
    content: bytes,
    *,
    file_name: str,
    label: str,
    lesions: tuple[float, ...] = NO_LESIONS,
    patient_id: str | None = None,
    caption: str | None = None,
    source: str | None = None,
) -> dict:
    """One row of `FEATURES` from an image file's bytes, which are kept as they are.

    Raises:
        ValueError: The bytes do not decode to an image.
    """
    try:
        picture = decode(io.BytesIO(content))
    except UnreadableSlice as error:
        raise ValueError(f"{file_name}: {error}") from error
    return {
        "image": {"bytes": content, "path": file_name},
        "label": label,
        "lesions": list(lesions),
        "file_name": file_name,
        "patient_id": patient_id,
        "caption": caption,
        "source": source,
        "format": picture.format,
        "mode": picture.mode,
        "width": picture.width,
        "height": picture.height,
    }


def lesions_from_reports(captions: Mapping[str, str | None]) -> dict[str, tuple[float, ...]]:
    """The lesion labels of the slices, by name, whose report names at least one lesion."""
    from .reports import read_figures  # spaCy takes seconds to import

    return {name: lesions for name, lesions in read_figures(captions).items() if any(lesions)}


def write_slices(splits: Mapping[str, Sequence[SliceFile]], output: Path) -> DatasetDict:
    """Read slices one at a time into a data set with `FEATURES`; see `write_rows`.

    A bar shows on a terminal after two seconds.

    Raises:
        ValueError: The folder is there already, or a file cannot be read or does not decode.
    """
    with tqdm(total=sum(map(len, splits.values())), unit="slice", delay=2, disable=None) as bar:

        def rows(files: Sequence[SliceFile]) -> Iterator[dict]:
            for file in files:
                yield file.row()
                bar.update()

        return write_rows({split: rows(files) for split, files in splits.items()}, FEATURES, output)


def write_rows(splits: Mapping[str, Iterable[dict]], features: Features, output: Path) -> DatasetDict:
    """Write a data set, a folder that appears whole or not at all.

    Memory holds a few rows, however many there are.

    Args:
        splits: The rows of each split, images as `{"bytes", "path"}`.
        features: Their features.
        output: A folder that is not there yet.

    Returns:
        The data set, mapped from its folder.

    Raises:
        ValueError: The folder is there already.
    """
    with new_folder(output) as unfinished:
        files = {split: unfinished / f"{split}.arrow" for split in splits}
        for split, path in files.items():
            _write_arrow(splits[split], features, path)
        # `save_to_disk` copies through a memory map, whose pages fill the memory: let it save data
        # sets without rows, for the files around them, and put the rows in their place.
        with _no_bars():
            empty = DatasetDict({split: _empty(path, features) for split, path in files.items()})
            empty.save_to_disk(unfinished, num_shards=dict.fromkeys(files, 1))
        for split, path in files.items():
            (placeholder,) = (unfinished / split).glob("*.arrow")
            path.replace(placeholder)
    return load_slices(output)


def _write_arrow(rows: Iterable[dict], features: Features, path: Path) -> None:
    held = 0
    with ArrowWriter(features=features, path=str(path)) as writer:
        for row in rows:
            writer.write(features.encode_example(row))
            held += len(image_bytes(row["image"]))
            if held > _BATCH_BYTES:
                writer.write_examples_on_file()
                held = 0
        writer.finalize()


def _empty(rows: Path, features: Features) -> Dataset:
    """A data set without rows that goes by the fingerprint of those in an Arrow file."""
    with rows.open("rb") as stream:
        fingerprint = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    table = InMemoryTable(features.arrow_schema.empty_table())
    return Dataset(table, split=rows.stem, fingerprint=fingerprint)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the bars of datasets back: saving data sets without rows is over in a blink."""
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `output` when all is well and vanishes when it is not.

    Raises:
        ValueError: `output` is there already: a data set or a model is never overwritten.
    """
    check_output(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as unfinished:
        folder = Path(unfinished) / output.name
        folder.mkdir()
        yield folder
        shutil.move(folder, output)


def check_output(output: Path) -> None:
    """Raise `ValueError` where a folder that is to be written is there already."""
    if output.exists():
        raise ValueError(
            f"{output}: expected a folder that is not there yet, found one; remove it or name another."
        )


def load_slices(path: str | Path) -> DatasetDict:
    """Load a data set that `ladnn data build` or `DatasetDict.save_to_disk` wrote.

    It needs `image` and `label` (0 NonCOVID, 1 COVID); `lesions` may be missing altogether.

    Raises:
        ValueError: The folder holds no such data set.
    """
    path = Path(path)
    remedy = "make one with `ladnn data from-folder`, or with `ladnn data build` of COVID-CT"
    try:
        slices = load_from_disk(str(path))
        for rows in slices.values() if isinstance(slices, DatasetDict) else ():
            # pyarrow trusts a file's offsets and ends the process on wrong ones.
            rows.data.validate(full=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected a saved slice data set, found none; {remedy}.") from error
    except _BROKEN as error:
        raise ValueError(f"{path}: expected a saved slice data set, found a broken one; {remedy}.") from error
    except IndexError as error:  # datasets saves a split without rows, but does not load it
        raise ValueError(
            f"{path}: expected slices in every split, found a split without any; save the data set without "
            "it."
        ) from error
    if not isinstance(slices, DatasetDict):
        raise ValueError(f"{path}: expected a data set with named splits, found one without; {remedy}.")
    for split, rows in slices.items():
        _check_columns(rows, f"{path}, split {split}")
    return slices


def _check_columns(rows: Dataset, where: str) -> None:
    for column in ("image", "label"):
        if column not in rows.column_names:
            raise ValueError(
                f"{where}: expected the columns image and label, found no {column}; rename your column with "
                "`rename_column`."
            )
    names = getattr(rows.features["label"], "names", list(CLASSES))
    labels = set(rows.unique("label"))
    if names != list(CLASSES) or not labels <= {0, 1}:
        raise ValueError(
            f"{where}: expected the labels 0 {CLASSES[0]} and 1 {CLASSES[1]}, found "
            f"{sorted(map(str, labels))} of {names}; map your labels to 0 and 1."
        )
    lesions = next(iter(rows["lesions"]), None) if "lesions" in rows.column_names else None
    if lesions is not None and len(lesions) != len(LESIONS):
        raise ValueError(
            f"{where}: expected {len(LESIONS)} lesion labels a slice ({', '.join(LESIONS)}), found "
            f"{len(lesions)}; give all five, NaN for no label."
        )


def join_sources(sources: Sequence[Dataset]) -> tuple[Dataset, np.ndarray]:
    """Rows of several sources as one, and for each row the group of its source and class.

    Args:
        sources: Splits of slice data sets; one may lack `lesions`, its slices then have no label.

    Returns:
        Rows of `image`, `label` and `lesions`, and (N,) groups, counted from 0.
    """
    columns = ("image", "label", "lesions")
    features = Features({name: FEATURES[name] for name in columns})
    parts = []
    for rows in sources:
        if "lesions" not in rows.column_names:
            rows = rows.add_column("lesions", [list(NO_LESIONS)] * len(rows))
        parts.append(rows.select_columns(columns).cast(features))
    labels = [np.array(rows["label"]) for rows in parts]
    groups = [len(CLASSES) * number + values for number, values in enumerate(labels)]
    return concatenate_datasets(parts), np.concatenate(groups)


def image_bytes(image: Mapping | None) -> bytes:
    """The bytes of an image that is not decoded; no bytes for a row without an image."""
    return (image or {}).get("bytes") or b""


def values_of(rows: Dataset, name: str) -> Sequence:
    """The values of a column that a data set may lack: None for each row then."""
    return rows[name] if name in rows.column_names else [None] * len(rows)


def file_names(rows: Dataset) -> list[str]:
    """What to call each row: its `file_name`, or its number in a data set that keeps none."""
    return [name or f"row {number}" for number, name in enumerate(values_of(rows, "file_name"))]


def patient_numbers(patients: Iterable[object]) -> np.ndarray:
    """(N,), a number for each slice, the same for those of one patient.

    A slice has its own where the patient is not known: None, an empty text, or NaN, pandas' None.
    """
    numbers: dict[object, int] = {}
    return np.array(
        [
            numbers.setdefault(
                (row,) if patient in (None, "") or patient != patient else patient, len(numbers)
            )
            for row, patient in enumerate(patients)
        ],
        int,
    )


def to_lesion_labels(lesions: Iterable[Sequence[float] | None]) -> np.ndarray:
    """Lesion labels as (N, 5), 0, 1 or NaN; a slice without any is a row of NaN."""
    given = [NO_LESIONS if values is None else values for values in lesions]
    return np.array(given, dtype=float).reshape(-1, len(LESIONS))


def stream_rows(rows: Dataset) -> Iterator[dict]:
    """The rows one by one, images as `{"bytes", "path"}` and labels as numbers.

    They are read from the files and not through the memory map, whose pages fill the memory.

    Args:
        rows: A split as `load_slices` gives it, whole and with all of its columns.

    Raises:
        ValueError: A file is broken.
    """
    files = [file["filename"] for file in rows.cache_files]
    if not files or rows._indices is not None:
        yield from rows.cast_column("image", Image(decode=False))
        return
    for file in files:
        try:
            with pyarrow.OSFile(file) as source, pyarrow.ipc.open_stream(source) as batches:
                for batch in batches:
                    batch.validate(full=True)
                    yield from batch.to_pylist()
        except _BROKEN as error:
            raise ValueError(
                f"{file}: expected rows of slices, found broken ones; build them again."
            ) from error

"""Rows of slices in saved data sets and in Parquet files, here or on the Hub, read part by part.

Neither datasets nor torch is loaded: what is read lies in Arrow's own formats.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

HUB = "hf://"
"""How the name of a file on the Hub begins, as huggingface_hub and datasets have it."""
PARQUET = ".parquet"
_READ_ROWS = 16
"""Rows that are held at a time: few, since a slice can be tens of megabytes."""
_SPLITS, _STATE = "dataset_dict.json", "state.json"
"""What `save_to_disk` leaves in the folder of a data set, and in that of a split."""
_BROKEN = (KeyError, OSError, TypeError, ValueError, pa.ArrowException)
"""What pyarrow raises on files that are not what their headers say."""


class SliceTable(Protocol):
    """Rows with the column `image`, in blocks that can be read one without the other."""

    name: str
    """Where they are; with `#` and a number from 0 the name of a row."""
    columns: Sequence[str]
    """The names of all columns."""
    blocks: Sequence[int]
    """The rows of each block."""

    def batches(self, first: int, last: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """A few rows at a time of the blocks from `first` up to and without `last`.

        Raises:
            ValueError: A file is broken or cannot be read.
        """


class ParquetTable:
    """One Parquet file, its blocks the row groups; see `SliceTable`.

    Args:
        name: A path, or `hf://datasets/OWNER/NAME@REVISION/PATH` on the Hub, of which the rows that are asked
            for are fetched and nothing else.

    Raises:
        ValueError: It is no such file.
    """

    def __init__(self, name: str):
        self.name = name
        with _in_words(name), _opened(name) as stream:
            self._metadata = pq.read_metadata(stream)
        self.columns = _checked(name, self._metadata.schema.to_arrow_schema())
        self.blocks = [self._metadata.row_group(at).num_rows for at in range(self._metadata.num_row_groups)]

    def batches(self, first: int, last: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """See `SliceTable`."""
        with _in_words(self.name), _opened(self.name) as stream:
            file = pq.ParquetFile(stream, metadata=self._metadata)
            for block in range(first, last):  # one by one: what lies before a broken one is still read
                for batch in file.iter_batches(_READ_ROWS, row_groups=[block], columns=columns):
                    batch.validate(full=True)  # else text that is none raises where its rows are used
                    yield batch


class SavedSplit:
    """One split that `save_to_disk` wrote, its blocks the record batches; see `SliceTable`.

    Args:
        name: Its folder.

    Raises:
        ValueError: It is no such folder.
    """

    def __init__(self, name: str):
        self.name = name
        self._counts: dict[str, list[int]] = {}
        with _in_words(name):
            files = json.loads((Path(name) / _STATE).read_text(encoding="utf-8"))["_data_files"]
            schema = pa.schema([])
            for file in (str(Path(name) / file["filename"]) for file in files):
                # Mapped, no more is read of a file than how many rows each batch has.
                with pa.memory_map(file) as source, pa.ipc.open_stream(source) as rows:
                    schema, self._counts[file] = rows.schema, [batch.num_rows for batch in rows]
        self.columns = _checked(name, schema)
        self.blocks = [count for counts in self._counts.values() for count in counts]

    def batches(self, first: int, last: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """See `SliceTable`."""
        number = 0
        for file, counts in self._counts.items():
            if first < number + len(counts) and number < last:
                # Opened anew each time: the pages that a map has touched count as memory until it is closed.
                with _in_words(file), pa.memory_map(file) as source, pa.ipc.open_stream(source) as rows:
                    for at, batch in enumerate(rows, start=number):
                        if first <= at < last:
                            batch.validate(full=True)  # else a wrong offset ends the process
                            wanted = batch.select(columns)
                            for row in range(0, batch.num_rows, _READ_ROWS):
                                yield wanted.slice(row, _READ_ROWS)
            number += len(counts)


def tables_of(path: str) -> list[SliceTable] | None:
    """The tables that an argument means; None where it means slices in files of their own.

    Args:
        path: A Parquet file; a saved data set, all of its splits, or one of them; or on the Hub
            `hf://datasets/OWNER/NAME@REVISION`, all of its Parquet files, or a part of them with `/` and a
            pattern such as `data/test-*`.

    Raises:
        ValueError: It means tables, and one cannot be read.
    """
    if path.startswith(HUB):
        return [ParquetTable(name) for name in _on_hub(path)]
    if path.endswith(PARQUET) and os.path.isfile(path):
        return [ParquetTable(path)]
    if os.path.isfile(Path(path) / _SPLITS):
        with _in_words(path):
            splits = json.loads((Path(path) / _SPLITS).read_text(encoding="utf-8"))["splits"]
        return [SavedSplit(f"{path.rstrip('/')}/{split}") for split in splits]
    return [SavedSplit(path.rstrip("/"))] if os.path.isfile(Path(path) / _STATE) else None


def offsets(table: SliceTable) -> list[int]:
    """The number of the first row of each block, and last the number of rows."""
    return [0, *accumulate(table.blocks)]


def column(table: SliceTable, name: str) -> list | None:
    """All values of a small column, such as the labels; None where there is none of that name."""
    if name not in table.columns:
        return None
    batches = table.batches(0, len(table.blocks), [name])
    return [value for batch in batches for value in batch.column(0).to_pylist()]


def _checked(name: str, schema: pa.Schema) -> list[str]:
    """The names of the columns, one of which has pictures as datasets keeps them: the bytes of a file."""
    with _in_words(name):  # names that are no text raise
        names, image = schema.names, schema.get_field_index("image")  # -1 also where there are two
        kind = schema.field(image).type if image >= 0 else None
        found = "none" if kind is None else str(kind)
        content = kind.get_field_index("bytes") if kind is not None and pa.types.is_struct(kind) else -1
    if content < 0 or kind.field(content).type not in (pa.binary(), pa.large_binary(), pa.binary_view()):
        raise ValueError(
            f"{name}: expected a column image with the bytes of picture files, found {found}; make the data "
            "set with `ladnn data from-folder`, or give it the feature `datasets.Image()`."
        )
    return names


@contextmanager
def _opened(name: str) -> Iterator:
    if name.startswith(HUB):
        from huggingface_hub import HfFileSystem

        with HfFileSystem().open(name) as stream:
            yield stream
    else:
        with open(name, "rb") as stream:
            yield stream


def _on_hub(path: str) -> list[str]:
    """The Parquet files that a name on the Hub means, sorted."""
    from huggingface_hub import HfFileSystem

    with _in_words(path):
        file_system = HfFileSystem()
        folder = "*" not in path and not path.endswith(PARQUET)
        names = file_system.glob(f"{path.rstrip('/')}/**/*{PARQUET}" if folder else path)
    found = sorted(f"{HUB}{name}" for name in names if name.endswith(PARQUET))
    if not found:
        raise ValueError(
            f"{path}: expected Parquet files on the Hub as hf://datasets/OWNER/NAME@REVISION/PATTERN, found "
            "none; check the name, your token and the network."
        )
    return found


@contextmanager
def _in_words(name: str) -> Iterator[None]:
    """Turn what the readers raise into one sentence; never the client's text, which can quote the token."""
    broken, remedy = _BROKEN, "check the name, or write the file again"
    if name.startswith(HUB):
        from huggingface_hub import errors

        broken, remedy = (*broken, errors.HTTPError), "check the name, your token and the network"
    try:
        yield
    except broken as error:
        raise ValueError(
            f"{name}: expected rows of slices that can be read, found none ({type(error).__name__}); "
            f"{remedy}."
        ) from error

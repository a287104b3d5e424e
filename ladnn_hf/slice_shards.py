"""The slices that `predict` was asked for, in order, cut into shards that can be answered apart."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .reading import UnreadableSlice, list_slices
from .slice_tables import HUB, SliceTable, offsets, tables_of

SHARD = 500
"""Slices of a shard: what a process that is killed has to answer again."""


@dataclass(frozen=True)
class FileShard:
    """Slices in files of their own."""

    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def name(self) -> str:
        """What it holds, the same in every process."""
        return "\n".join(self.paths)

    def slices(self) -> Iterator[tuple[str, str]]:
        """The name of each slice, and what to read."""
        return zip(self.paths, self.paths, strict=True)


@dataclass(frozen=True)
class TableShard:
    """Slices in adjacent blocks of a table.

    Attributes:
        table: The table.
        first: The first block.
        last: The block after the last.
        row: The number of the first row.
        rows: How many there are.
    """

    table: SliceTable
    first: int
    last: int
    row: int
    rows: int

    def __len__(self) -> int:
        return self.rows

    @property
    def name(self) -> str:
        """What it holds, the same in every process."""
        return f"{self.table.name}#{self.row}+{self.rows}"

    @property
    def paths(self) -> Sequence[str]:
        """Where the table is."""
        return [self.table.name]

    def slices(self) -> Iterator[tuple[str, io.BytesIO | UnreadableSlice]]:
        """The name of each slice, and what to read; refusals from where a file is broken.

        Raises:
            ValueError: The Hub does not give the rows: asked again, it may.
        """
        name, number = self.table.name, self.row
        try:
            for batch in self.table.batches(self.first, self.last, ["image"]):
                for image in batch.column(0).to_pylist():
                    yield f"{name}#{number}", _readable(image)
                    number += 1
        except ValueError as error:
            if name.startswith(HUB):
                raise
            for unread in range(number, self.row + self.rows):
                yield f"{name}#{unread}", _refusal(error, name)


@dataclass(frozen=True)
class UnreadableTable:
    """A file or folder that should hold rows and does not: one refusal, so that the others are answered.

    Attributes:
        path: Where it is.
        error: What reading it raised.
    """

    path: str
    error: ValueError

    def __len__(self) -> int:
        return 1

    @property
    def name(self) -> str:
        """What it holds, the same in every process."""
        return self.path

    @property
    def paths(self) -> Sequence[str]:
        """Where it is."""
        return [self.path]

    def slices(self) -> Iterator[tuple[str, UnreadableSlice]]:
        """Its name and the refusal."""
        yield self.path, _refusal(self.error, self.path)


Shard = FileShard | TableShard | UnreadableTable


def shards_of(paths: Sequence[str], size: int = SHARD) -> list[Shard]:
    """Cut what arguments mean into shards, in order.

    Args:
        paths: Slices, folders of slices, and what `tables_of` takes.
        size: Slices of a shard; one of a table ends with the block that reaches it.

    Raises:
        ValueError: A table on the Hub cannot be read.
    """
    shards: list[Shard] = []
    files: list[str] = []
    for path in paths:
        rows: list[Shard] = []
        try:
            tables = tables_of(path)
        except ValueError as error:
            if path.startswith(HUB):
                raise
            tables, rows = [], [UnreadableTable(path, error)]
        if tables is None:
            files.extend(list_slices([path]))
            continue
        for table in tables:
            rows += _of_table(table, size)
        shards += _of_files(files, size) + rows
        files = []
    return shards + _of_files(files, size)


def _of_files(files: list[str], size: int) -> list[Shard]:
    return [FileShard(files[at : at + size]) for at in range(0, len(files), size)]


def _of_table(table: SliceTable, size: int) -> Iterator[Shard]:
    rows, first = offsets(table), 0
    for last in range(1, len(rows)):
        count = rows[last] - rows[first]
        if count >= size or (count and last == len(rows) - 1):
            yield TableShard(table, first, last, rows[first], count)
            first = last


def _refusal(error: ValueError, name: str) -> UnreadableSlice:
    """The error as the reason, without the name, which stands beside it."""
    return UnreadableSlice(str(error).removeprefix(f"{name}: "))


def _readable(image: dict | None) -> io.BytesIO | UnreadableSlice:
    """A row's picture; never a path, by which another's data set could name a file of this machine."""
    if image and image["bytes"]:
        return io.BytesIO(image["bytes"])
    return UnreadableSlice("expected the bytes of an image in this row, found none; leave the row out.")

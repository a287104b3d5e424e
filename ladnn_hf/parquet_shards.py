"""Slices as Parquet files with the images inside, as `datasets.load_dataset` reads them from the Hub."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from datasets.arrow_writer import get_parquet_column_options
from datasets.table import embed_table_storage

_SHARD_BYTES = 300_000_000
"""Size from which a file is closed and the next one begun."""
_GROUP_BYTES = 16_000_000
"""Size from which a row group is closed; who streams a data set holds one row group."""
_READ_ROWS = 16
"""Rows that are read at a time: few, since a slice can be tens of megabytes."""


@dataclass(frozen=True)
class Shards:
    """One split as Parquet.

    Attributes:
        paths: The files, in the order of their rows.
        rows: Rows in all files.
        row_bytes: Bytes of these rows once loaded, which `datasets` wants to know.
    """

    paths: tuple[Path, ...]
    rows: int
    row_bytes: int


def write_shards(split: str, rows: Dataset, folder: Path) -> Shards:
    """Write one split to `folder`, as `train-00000-of-00002.parquet` and so on.

    Images go in byte for byte, under their file names alone. Memory holds one row group, however many
    rows there are.
    """
    schema = rows.features.arrow_schema
    options = get_parquet_column_options(rows.features, schema)
    parts: list[Path] = []
    row_bytes = 0
    groups = _row_groups(rows)
    group = next(groups, None)
    while group is not None:
        parts.append(folder / f"{split}-{len(parts)}")
        with (
            parts[-1].open("wb") as stream,
            # Chunks that follow the content let the Hub store once what two versions share.
            pq.ParquetWriter(
                stream, schema, use_content_defined_chunking=True, write_page_index=True, **options
            ) as writer,
        ):
            while group is not None:
                writer.write_table(group, row_group_size=len(group))
                row_bytes += group.nbytes
                group = next(groups, None)
                if stream.tell() >= _SHARD_BYTES:
                    break
    names = [f"{split}-{number:05d}-of-{len(parts):05d}.parquet" for number in range(len(parts))]
    paths = tuple(part.rename(folder / name) for part, name in zip(parts, names, strict=True))
    return Shards(paths, len(rows), row_bytes)


def _row_groups(rows: Dataset) -> Iterator[pa.Table]:
    held, size = [], 0
    for table in rows.with_format("arrow").iter(_READ_ROWS):
        held.append(embed_table_storage(table))
        size += held[-1].nbytes
        if size >= _GROUP_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)

"""Reads tables and lists; every fault is a `ValueError` that names the file and the remedy."""

import csv
import io
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

DOWNLOAD = "download it again"
"""The remedy for a fault in the authors' tables."""


def read_records(
    path: Path, columns: set[str], *, encoding: str = "gb18030", remedy: str = DOWNLOAD
) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table by column, each with its number in the file; blank rows are passed over.

    Raises:
        ValueError: A column is missing, a row is longer than the header, or as for `read_table`.
    """
    header, *rows = read_table(path, encoding, remedy) or [[]]
    header = [name.strip() for name in header]
    missing = columns - set(header)
    if missing and len(header) == 1 and ";" in header[0]:
        raise ValueError(f"{path}: expected commas between the columns, found {header[0]!r}; {remedy}.")
    if missing:
        raise ValueError(
            f"{path}: expected the columns {sorted(columns)}, found no {sorted(missing)}; {remedy}."
        )
    for number, row in enumerate(rows, start=2):
        if any(row[len(header) :]):
            raise ValueError(
                f"{path}, row {number}: expected {len(header)} cells, found {len(row)}; {remedy} (text with "
                "commas needs quotes)."
            )
        if any(row):
            yield number, dict(zip_longest(header, row[: len(header)], fillvalue=""))


def check_once(rows: dict[str, int], name: str, path: Path, row: int, remedy: str = DOWNLOAD) -> None:
    """Note the row that speaks of a file.

    Raises:
        ValueError: An earlier row spoke of it.
    """
    if name in rows:
        raise ValueError(
            f"{path}, row {row}: expected one row for each file, found {name!r} in row {rows[name]} too; "
            f"{remedy}."
        )
    rows[name] = row


def read_table(path: Path, encoding: str = "gb18030", remedy: str = DOWNLOAD) -> list[list[str]]:
    """The rows of a CSV table, its header first.

    Raises:
        ValueError: There is no such file, it is no table, or its encoding is another.
    """
    try:
        return list(csv.reader(io.StringIO(read_text(path, encoding, remedy), newline="")))
    except csv.Error as error:
        raise ValueError(f"{path}: expected a table, found none ({error}); {remedy}.") from error


def read_text(path: Path, encoding: str, remedy: str = DOWNLOAD) -> str:
    """A text in an encoding, or in UTF-8.

    Raises:
        ValueError: There is no such file, or its encoding is another.
    """
    if not path.is_file():
        raise missing_file(path)
    content = path.read_bytes()
    # A file saved anew by an editor is UTF-8; as published one table is GB18030.
    for candidate in ("utf-8-sig", encoding):
        try:
            return content.decode(candidate)
        except UnicodeDecodeError as error:
            failure = error
    expected = "UTF-8" if encoding == "utf-8" else f"{encoding} or UTF-8"
    raise ValueError(
        f"{path}: expected the encoding {expected}, found bytes that are not; {remedy}."
    ) from failure


def missing_file(path: Path) -> ValueError:
    """The error that a file is not there."""
    return ValueError(f"{path}: expected this file, found none; check the folder or download it again.")

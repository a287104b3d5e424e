"""Reads the authors' tables and lists; every fault is a `ValueError` that names the file and the remedy."""

import csv
import io
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path


def read_records(path: Path, columns: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table by column, each with its number in the file."""
    header, *rows = read_table(path) or [[]]
    missing = columns - set(header)
    if missing:
        raise ValueError(
            f"{path}: expected the columns {sorted(columns)}, found no {sorted(missing)}; download it again."
        )
    for number, row in enumerate(rows, start=2):
        yield number, dict(zip_longest(header, row[: len(header)], fillvalue=""))


def read_table(path: Path) -> list[list[str]]:
    """The rows of a CSV table, its header first."""
    try:
        return list(csv.reader(io.StringIO(read_text(path, "gb18030"), newline="")))
    except csv.Error as error:
        raise ValueError(f"{path}: expected a table, found none ({error}); download it again.") from error


def read_text(path: Path, encoding: str) -> str:
    """A text in an encoding, or in UTF-8."""
    if not path.is_file():
        raise missing_file(path)
    content = path.read_bytes()
    # A file saved anew by an editor is UTF-8; as published one table is GB18030.
    for candidate in ("utf-8-sig", encoding):
        try:
            return content.decode(candidate)
        except UnicodeDecodeError as error:
            failure = error
    raise ValueError(
        f"{path}: expected the encoding {encoding} or UTF-8, found bytes that are neither; download the "
        "file again."
    ) from failure


def missing_file(path: Path) -> ValueError:
    """The error that a file is not there."""
    return ValueError(f"{path}: expected this file, found none; check the folder or download it again.")

"""Writes answers as a table for people, as JSON lines or as CSV."""

import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from .labels import LESIONS

_FORMULA = tuple("=+-@＝＋－＠\t\r\n")
"""What begins a formula in a spreadsheet."""


@contextlib.contextmanager
def opened(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears whole or not at all; a device or pipe is written to as it is.

    Raises:
        ValueError: The file cannot be made, or standard output is closed.
    """
    if output is None:
        if sys.stdout is None:
            raise ValueError("expected an open standard output, found it closed; give `--output`.")
        yield sys.stdout
        return
    target = Path(os.path.realpath(output))
    if target.is_dir():
        raise ValueError(f"{output}: expected a file, found a folder; name a file in it.")
    if not target.parent.is_dir():
        raise ValueError(f"{output}: expected a file in a folder that is there, found none; name another.")
    direct = target.exists() and not target.is_file()
    path = target if direct else target.with_name(f".{target.name[:100]}-{os.getpid()}")
    try:
        # A name that is not UTF-8 is written as the bytes that it is.
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            yield stream
        if not direct:
            os.replace(path, target)
    finally:
        if not direct:
            path.unlink(missing_ok=True)


def _write_json(answers: Iterable, stream: TextIO) -> None:
    for answer in answers:
        print(json.dumps(answer.to_dict()), file=stream, flush=True)


def _write_csv(answers: Iterable, stream: TextIO) -> None:
    writer = None
    for answer in answers:
        row = answer.to_dict()
        lesions = row.pop("lesions") or dict.fromkeys(LESIONS)
        row = {name: _as_text(cell) for name, cell in (row | lesions).items()}
        if writer is None:
            writer = csv.DictWriter(stream, row, lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def _as_text(cell: object) -> object:
    """The cell, with a quote before what a spreadsheet would take for a formula: files may have any name."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _write_table(answers: Iterable, stream: TextIO) -> None:
    print(f"{'decision':13} {'P(COVID)':>8} {' '.join(f'{name:>8}' for name in LESIONS)}  image", file=stream)
    for answer in answers:
        name = printable(answer.image)
        if answer.decision == "refused":
            line = f"{'refused':13} {name}: {answer.reason}"
        else:
            lesions = " ".join(f"{p:8.3f}" for p in answer.lesions.values())
            line = f"{answer.decision:13} {answer.covid_probability:8.3f} {lesions}  {name}"
        print(line, file=stream, flush=True)


def printable(name: str) -> str:
    """A file's name for a terminal, which would obey some characters."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


WRITERS = {"table": _write_table, "json": _write_json, "csv": _write_csv}
"""How `ladnn predict --format` writes `Prediction`s to a stream, each as soon as it is there."""
HEADED = ("table", "csv")
"""The formats that begin with a line that names the columns."""

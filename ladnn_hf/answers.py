"""Writes answers as a table for people, as JSON lines or as CSV."""

import contextlib
import csv
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from .labels import LESIONS


@contextlib.contextmanager
def opened(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears whole or not at all."""
    if output is None:
        yield sys.stdout
        return
    with tempfile.NamedTemporaryFile(
        "w", dir=output.parent, prefix=f".{output.name}-", delete=False, encoding="utf-8", newline=""
    ) as stream:
        try:
            yield stream
        except BaseException:
            os.unlink(stream.name)
            raise
    os.replace(stream.name, output)


def _write_json(answers: Iterable, stream: TextIO) -> None:
    for answer in answers:
        print(json.dumps(answer.to_dict(), ensure_ascii=False), file=stream, flush=True)


def _write_csv(answers: Iterable, stream: TextIO) -> None:
    writer = None
    for answer in answers:
        row = answer.to_dict()
        lesions = row.pop("lesions") or dict.fromkeys(LESIONS)
        row |= lesions
        if writer is None:
            writer = csv.DictWriter(stream, row, lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def _write_table(answers: Iterable, stream: TextIO) -> None:
    print(f"{'decision':13} {'COVID':>6} {' '.join(f'{name:>8}' for name in LESIONS)}  image", file=stream)
    for answer in answers:
        if answer.decision == "refused":
            print(f"{'refused':13} {answer.image}: {answer.reason}", file=stream, flush=True)
            continue
        lesions = " ".join(f"{p:8.3f}" for p in answer.lesions.values())
        line = f"{answer.decision:13} {answer.covid_probability:6.3f} {lesions}  {answer.image}"
        print(line, file=stream, flush=True)


WRITERS = {"table": _write_table, "json": _write_json, "csv": _write_csv}
"""How `ladnn predict --format` writes `Prediction`s to a stream, each as soon as it is there."""

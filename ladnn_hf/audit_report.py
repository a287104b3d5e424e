"""Writes an audit: `audit.json`, `audit.md`, and `audit.html` with the slices side by side."""

import base64
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import DatasetDict, Image

from .audit import exclusions
from .findings import TITLES
from .labels import CLASSES, LESIONS
from .metrics import to_json
from .reading import UnreadableSlice, read_slice
from .rendering import render
from .slice_dataset import file_names, image_bytes, new_folder, stream_rows, write_rows

SHOWN = 300
"""Findings with pictures on the page, at most: it holds their pictures."""
_PICTURED = (
    "same_image",
    "same_scan",
    "caption_contradicts_label",
    "caption_in_doubt",
    "blank",
    "tiny",
    "not_ct",
)
_LISTED = 6
"""Rows of a finding that are named in the text."""


def write_audit(report: dict[str, Any], slices: DatasetDict, output: Path) -> None:
    """Write the three files into a new folder.

    Args:
        report: What `audit` found.
        slices: The data set, for the pictures.
        output: A folder that is not there yet.

    Raises:
        ValueError: `output` is there already.
    """
    with new_folder(output) as folder:
        (folder / "audit.json").write_text(to_json(report), encoding="utf-8")
        (folder / "audit.md").write_text(_render("audit.md.jinja", report), encoding="utf-8")
        page = _render("audit.html.jinja", report, pictures=_pictures(report, slices), shown=SHOWN)
        (folder / "audit.html").write_text(page, encoding="utf-8")


def write_cleaned(report: dict[str, Any], slices: DatasetDict, output: Path) -> dict[str, int]:
    """Write the data set without the slices that an audit proves wrong, and the table of those.

    A split of which nothing is left is left out: no command could learn from it or score it.

    Args:
        report: What `audit` found.
        slices: The data set.
        output: A folder that is there; `cleaned` and `excluded.csv` are written into it.

    Returns:
        How many slices each split lost.
    """
    reasons = exclusions(report)
    lost = {}
    with (output / "excluded.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["split", "file_name", "row", "reason"])
        for split, rows in slices.items():
            wrong = sorted(number for name, number in reasons if name == split)
            names = file_names(rows)
            table.writerows([split, names[number], number, reasons[split, number]] for number in wrong)
            lost[split] = len(wrong)

    def kept(split: str) -> Iterator[dict]:
        for number, row in enumerate(stream_rows(slices[split])):
            if (split, number) not in reasons:
                yield row

    features = next(iter(slices.values())).features
    left = [split for split, rows in slices.items() if lost[split] < len(rows)]
    write_rows({split: kept(split) for split in left}, features, output / "cleaned")
    return lost


def _render(template: str, report: dict[str, Any], **more: Any) -> str:
    by_kind = {kind: [f for f in report["findings"] if f["kind"] == kind] for kind in TITLES}
    return render(
        Path(__file__).parent / "templates",
        template,
        report=report,
        titles=TITLES,
        by_kind=by_kind,
        classes=CLASSES,
        lesions=LESIONS,
        listed=_LISTED,
        **more,
    )


def _pictures(report: dict[str, Any], slices: DatasetDict) -> Iterator[tuple[dict, list[tuple[dict, str]]]]:
    """Findings that are better looked at, each with its slices as data URLs."""
    images = {
        split: rows.select_columns("image").cast_column("image", Image(decode=False))
        for split, rows in slices.items()
    }
    for finding in [f for f in report["findings"] if f["kind"] in _PICTURED][:SHOWN]:
        yield (
            finding,
            [
                (row, _thumbnail(image_bytes(images[row["split"]][row["row"]]["image"])))
                for row in finding["rows"][:_LISTED]
            ],
        )


def _thumbnail(content: bytes) -> str:
    try:
        picture = read_slice(io.BytesIO(content))
    except UnreadableSlice:
        return ""
    picture.thumbnail((320, 320))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"

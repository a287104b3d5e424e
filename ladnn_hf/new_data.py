"""The images that LA-DNN's authors collected later: their folder `New_data/` of zips and two tables.

LA-DNN: Liu et al., medRxiv 10.1101/2020.05.11.20097907.
"""

import re
import warnings
from pathlib import Path
from typing import NamedTuple

from .archives import Reader, by_file_name, list_images
from .labels import LESIONS
from .papers import paper_of
from .reading import SUFFIXES
from .slice_dataset import NO_LESIONS, SliceFile
from .tables import check_once, read_records

_TABLES = {"COVID": ("New_COVIDCT_meta*.csv", "CVD19"), "NonCOVID": ("New_NonCOVIDCT_meta*.csv", "")}
"""The table of each class, and what its column CVD19 holds."""
_ENDINGS = {"_nocovidct": "NonCOVID", "_covidct": "COVID"}
"""The class that the name of a zip or folder ends in."""
_PATIENT = re.compile(r"(LungCT-Diagnosis|CPTAC-LSCC)_(\d+)_\d+\.")
"""Collections whose files are named after patient and slice; in others the number is the slice's own."""


class _Row(NamedTuple):
    """What a table says of one image."""

    where: str
    label: str
    lesions: tuple[float, ...]


def read_new_data(folder: Path, lesions_from: str = "tables") -> list[SliceFile]:
    """The later images that are there: those of every zip and plain folder below `New_data/`.

    The class is that of the table, for images in no table that of the zip's or folder's name. The
    tables list more images than the repository holds: how many are missing is said in a warning.

    Args:
        folder: LA-DNN's `New_data/`.
        lesions_from: `tables`, or `reports`, of which these images have none: they get no lesion labels.

    Raises:
        ValueError: The folder, its tables or its images are missing, a row says what it cannot, or an
            image's class is told nowhere or in two ways.
    """
    rows = {file_name: row for label in _TABLES for file_name, row in _read_table(folder, label).items()}
    files: dict[str, SliceFile] = {}
    for holder in _holders(folder):
        named = next((label for ending, label in _ENDINGS.items() if holder.name.endswith(ending)), None)
        for file_name, read in _images(holder).items():
            row = rows.get(file_name)
            where = f"{holder}, {file_name}"
            labels = {named, row and row.label} - {None}
            if len(labels) != 1:
                raise ValueError(
                    f"{where}: expected one class, in a table of {folder.name} or at the end of the zip's or "
                    f"folder's name ({', '.join(_ENDINGS)}), found {len(labels)}; correct the name."
                )
            if file_name in files:
                raise ValueError(
                    f"{where}: expected each image once, found it in {files[file_name].where} too; remove "
                    "one of the two."
                )
            patient = _PATIENT.search(file_name)
            files[file_name] = SliceFile(
                where=row.where if row else str(holder),
                read=read,
                file_name=file_name,
                label=labels.pop(),
                lesions=row.lesions if row and lesions_from == "tables" else NO_LESIONS,
                patient_id=" ".join(patient.groups()) if patient else None,
                # The column Sources will not do: it was filled by dragging, which added 1 from row to row.
                source=paper_of(file_name),
            )
    if not files:
        raise ValueError(f"{folder}: expected zips or folders of images, found none; download it again.")
    if missing := rows.keys() - files.keys():
        warnings.warn(
            f"{folder}: {len(missing)} of the {len(rows)} images in its tables are in no zip or folder there "
            "and left out.",
            stacklevel=3,
        )
    return list(files.values())


def _holders(folder: Path) -> list[Path]:
    """Folders with images right in them, and zips that are not unpacked beside, without their suffix."""
    folders = {path.parent for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES)}
    zips = {path.with_suffix("") for path in folder.rglob("*.zip")}
    return sorted(folders | {path for path in zips if not path.is_dir()})


def _images(holder: Path) -> dict[str, Reader]:
    images = list_images(holder)
    if holder.is_dir():  # a folder below is a holder of its own
        images = {path: read for path, read in images.items() if "/" not in path}
    return by_file_name(images, holder)


def _read_table(folder: Path, label: str) -> dict[str, _Row]:
    pattern, sign = _TABLES[label]
    paths = sorted(folder.glob(pattern))
    if len(paths) != 1:
        found = ", ".join(path.name for path in paths) or "none"
        raise ValueError(
            f"{folder / pattern}: expected one such table, found {found}; keep the newest or "
            "download it again."
        )
    (path,) = paths
    table: dict[str, _Row] = {}
    numbers: dict[str, int] = {}
    for number, cells in read_records(path, {"imgname", "CVD19"}):
        where = f"{path}, row {number}"
        check_once(numbers, cells["imgname"], path, number)
        if cells["CVD19"] != sign:
            raise ValueError(
                f"{where}: expected {sign!r} in CVD19, as the table is of {label} slices, found "
                f"{cells['CVD19']!r}; download it again."
            )
        lesions = tuple(float(bool(cells[column])) for column in _lesion_columns(path, cells))
        table[cells["imgname"]] = _Row(where, label, lesions if any(lesions) else NO_LESIONS)
    return table


def _lesion_columns(path: Path, cells: dict[str, str]) -> list[str]:
    """The columns of the five lesions, headed "GGO" or "consolidation(Csld)"."""
    columns = []
    for lesion in LESIONS:
        column = next((title for title in cells if title == lesion or title.endswith(f"({lesion})")), None)
        if column is None:
            raise ValueError(f"{path}: expected a column of {lesion}, found none; download it again.")
        columns.append(column)
    return columns

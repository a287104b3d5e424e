"""COVID-CT, with LA-DNN's lesion labels, from the folders their authors publish to a `DatasetDict`.

COVID-CT: Zhao, Zhang, He and Xie, arXiv 2003.13865, repository UCSD-AI4H/COVID-CT.
LA-DNN: Liu et al., medRxiv 10.1101/2020.05.11.20097907.
"""

import ast
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, DatasetDict
from datasets.exceptions import DatasetGenerationError

from .labels import CLASSES, LESIONS
from .slice_dataset import FEATURES, NO_LESIONS, slice_row
from .tables import missing_file, read_records, read_table, read_text

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Our names of the splits and the authors'."""
COUNTS = {
    ("train", "COVID"): 191,
    ("train", "NonCOVID"): 234,
    ("validation", "COVID"): 60,
    ("validation", "NonCOVID"): 58,
    ("test", "COVID"): 98,
    ("test", "NonCOVID"): 105,
}
"""Slices in each split and class, as published."""


@dataclass(frozen=True)
class _Report:
    """What the tables say of one image beside its label."""

    patient_id: str | None = None
    caption: str | None = None
    lesions: tuple[float, ...] = NO_LESIONS


def build_covid_ct(covid_ct: Path, la_dnn: Path | None = None) -> DatasetDict:
    """Build COVID-CT in its official splits.

    Args:
        covid_ct: COVID-CT's folder, with `Images-processed/` (zips or plain folders), `Data-split/`
            and the two tables of patients.
        la_dnn: LA-DNN's folder, with `data_split/`. Without it no slice has lesion labels, and
            patients and captions come from `COVID-CT-MetaInfo.xlsx`.

    Returns:
        `train`, `validation` and `test` of 425, 118 and 203 rows with `FEATURES`. A positive with at
        least one lesion in the authors' tables has five lesion labels; every other slice has NaN.

    Raises:
        ValueError: A file is missing, an image is unknown, an encoding is wrong or a count is off.
    """
    covid_ct = Path(covid_ct)
    images = {name: _images(covid_ct / "Images-processed" / f"CT_{name}") for name in CLASSES}
    reports = {
        "COVID": _positive_reports(covid_ct, la_dnn, set(images["COVID"])),
        "NonCOVID": _negative_reports(covid_ct, set(images["NonCOVID"])),
    }
    listed = {key: _listed(covid_ct, *key, set(images[key[1]])) for key in COUNTS}

    def rows(split: str) -> Iterator[dict]:
        for name in ("COVID", "NonCOVID"):
            for file_name in listed[split, name]:
                report = reports[name].get(file_name, _Report())
                content = _content(images[name][file_name])
                yield slice_row(content, file_name=file_name, label=name, **vars(report))

    # The cache of `from_generator` is keyed by its arguments, not by the files: give it none to find.
    splits = DatasetDict()
    with tempfile.TemporaryDirectory() as cache:
        for split in SPLITS:
            try:
                splits[split] = Dataset.from_generator(
                    rows,
                    features=FEATURES,
                    gen_kwargs={"split": split},
                    cache_dir=f"{cache}/{split}",
                    split=split,
                    keep_in_memory=True,
                )
            except DatasetGenerationError as error:
                raise error.__cause__ or error from None
    return splits


def _images(folder: Path) -> dict[str, Path | zipfile.Path]:
    """Image files by name, from a plain folder or the zip beside it."""
    archive = folder.with_name(f"{folder.name}.zip")
    if folder.is_dir():
        found = [path for path in folder.rglob("*") if path.is_file()]
    elif archive.is_file():
        try:
            content = zipfile.ZipFile(archive)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{archive}: expected a zip, found a broken one; download it again.") from error
        found = [zipfile.Path(content, name) for name in content.namelist() if "__MACOSX" not in name]
    else:
        raise ValueError(
            f"{archive}: expected this zip, or a plain folder {folder.name} beside it, found neither; "
            "download `Images-processed` of UCSD-AI4H/COVID-CT."
        )
    return {path.name: path for path in found if path.name.lower().endswith(IMAGE_SUFFIXES)}


def _content(image: Path | zipfile.Path) -> bytes:
    try:
        return image.read_bytes()
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(
            f"{image}: expected an image, found a broken part of the zip; download it again."
        ) from error


def _listed(covid_ct: Path, split: str, name: str, known: set[str]) -> list[str]:
    """File names of one class in one split, checked against the images and the published count."""
    path = covid_ct / "Data-split" / name / f"{SPLITS[split]}CT_{name}.txt"
    file_names = [line.strip() for line in read_text(path, "utf-8").splitlines() if line.strip()]
    for row, file_name in enumerate(file_names, start=1):
        if file_name not in known:
            raise ValueError(
                f"{path}, row {row}: expected the name of an image in CT_{name}, found {file_name!r}; "
                "download the list or the images again."
            )
    expected, found = COUNTS[split, name], len(set(file_names))
    if found != expected or len(file_names) != found:
        raise ValueError(
            f"{path}: expected {expected} different images, found {found} in {len(file_names)} rows; "
            "download the list again."
        )
    return file_names


def _positive_reports(covid_ct: Path, la_dnn: Path | None, known: set[str]) -> dict[str, _Report]:
    if la_dnn is None:
        return _reports_from_workbook(covid_ct / "COVID-CT-MetaInfo.xlsx", known)
    folder = Path(la_dnn) / "data_split"
    lesions = _lesions(folder, known)
    path = folder / "COVID-CT-MetaInfo_new.csv"
    rows = read_table(path)
    reports = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 9:
            raise ValueError(
                f"{path}, row {number}: expected 9 columns, found {len(row)}; download it again."
            )
        file_name = _known_name(row[0], known, path, number)
        reports[file_name] = _Report(row[1], _caption(row[8]), lesions.get(file_name, NO_LESIONS))
    return reports


def _lesions(folder: Path, known: set[str]) -> dict[str, tuple[float, ...]]:
    """The five lesion labels of every positive that the authors labelled with at least one.

    The published training code asks these tables for two columns by misspelt names and so never saw
    an air bronchogram or a septal thickening; the tables themselves spell them as here.
    """
    lesions = {}
    for name in SPLITS.values():
        path = folder / f"{name}_meta.csv"
        for number, row in read_records(path, {"imgname", *LESIONS}):
            values = tuple(float(bool(row[lesion])) for lesion in LESIONS)
            if any(values):
                lesions[_known_name(row["imgname"], known, path, number)] = values
    return lesions


def _reports_from_workbook(path: Path, known: set[str]) -> dict[str, _Report]:
    import openpyxl  # only for those who have COVID-CT without LA-DNN's tables

    if not path.is_file():
        raise missing_file(path)
    try:
        sheet = openpyxl.load_workbook(path, read_only=True).worksheets[0]
        rows = enumerate(sheet.iter_rows(values_only=True), start=1)
        header = next(rows)[1]
    except (zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise ValueError(f"{path}: expected an Excel workbook, found none; download it again.") from error
    missing = {"File name", "Patient ID", "Captions"} - set(header)
    if missing:
        raise ValueError(f"{path}: expected the column {missing.pop()!r}, found none; download it again.")
    name_at, patient_at, caption_at = (
        header.index(title) for title in ("File name", "Patient ID", "Captions")
    )
    return {
        _known_name(row[name_at], known, path, number): _Report(
            row[patient_at], _caption(row[caption_at] or "")
        )
        for number, row in rows
        if row[name_at]
    }


def _negative_reports(covid_ct: Path, known: set[str]) -> dict[str, _Report]:
    path = covid_ct / "NonCOVID-CT-MetaInfo.csv"
    return {
        _known_name(row["image name"], known, path, number): _Report(row["patient id"])
        for number, row in read_records(path, {"image name", "patient id"})
    }


def _known_name(name: str, known: set[str], path: Path, row: int) -> str:
    """The file that a table means: some rows leave the suffix out."""
    for candidate in (name, *(f"{name}{suffix}" for suffix in IMAGE_SUFFIXES)):
        if candidate in known:
            return candidate
    raise ValueError(
        f"{path}, row {row}: expected the name of an image in Images-processed, found {name!r}; "
        "download the table or the images again."
    )


def _caption(cell: str) -> str | None:
    """A caption; most stand in the tables as a Python list of one string."""
    text = cell.strip()
    if text.startswith("["):
        try:
            text = " ".join(ast.literal_eval(text))
        except (SyntaxError, ValueError):
            text = text.strip("[]'\"")
    return text.strip() or None

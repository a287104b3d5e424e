"""COVID-CT, with LA-DNN's lesion labels, from the folders their authors publish to a `DatasetDict`.

COVID-CT: Zhao, Zhang, He and Xie, arXiv 2003.13865, repository UCSD-AI4H/COVID-CT.
LA-DNN: Liu et al., medRxiv 10.1101/2020.05.11.20097907.
"""

import ast
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from datasets import DatasetDict

from .archives import by_file_name, list_images
from .labels import CLASSES, LESIONS
from .new_data import read_new_data
from .papers import paper_of
from .reading import SUFFIXES
from .slice_dataset import NO_LESIONS, SliceFile, lesions_from_reports, write_slices
from .tables import check_once, missing_file, read_records, read_table, read_text

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
    source: str | None = None
    lesions: tuple[float, ...] = NO_LESIONS


def build_covid_ct(
    covid_ct: Path,
    la_dnn: Path | None = None,
    *,
    output: Path,
    new_data: str = "none",
    lesions_from: str = "tables",
) -> DatasetDict:
    """Build COVID-CT in its official splits.

    Args:
        covid_ct: COVID-CT's folder, with `Images-processed/` (zips or plain folders), `Data-split/`
            and the two tables of patients.
        la_dnn: LA-DNN's folder, with `data_split/`, for lesions and corrected captions.
        output: The folder to write, which is not there yet.
        new_data: What becomes of the images in LA-DNN's `New_data/`: `none` leaves them out, `split`
            makes them the split `new`, `train` adds them to `train`.
        lesions_from: `tables` takes the authors' lesion labels, which are LA-DNN's; `reports` reads
            the captions instead.

    Returns:
        `train`, `validation` and `test` of 425, 118 and 203 rows with `FEATURES`, mapped from `output`.
        A positive in whose table or report there is at least one lesion has five lesion labels; every
        other slice has NaN.

    Raises:
        ValueError: A file is missing, an image is unknown or broken, an encoding is wrong, a count is
            off, or `output` is there already.
    """
    covid_ct = Path(covid_ct)
    if new_data != "none" and la_dnn is None:
        raise ValueError("expected LA-DNN's folder, which holds the new data, found none; give la_dnn.")
    images = {}
    for name in CLASSES:
        folder = covid_ct / "Images-processed" / f"CT_{name}"
        images[name] = by_file_name(list_images(folder), folder)
    reports = {
        "COVID": _positive_reports(covid_ct, la_dnn, lesions_from, set(images["COVID"])),
        "NonCOVID": _negative_reports(covid_ct, set(images["NonCOVID"])),
    }
    splits = {}
    for split in SPLITS:
        splits[split] = [
            SliceFile(
                where=where,
                read=images[name][file_name],
                file_name=file_name,
                label=name,
                **vars(reports[name].get(file_name, _Report())),
            )
            for name in ("COVID", "NonCOVID")
            for where, file_name in _listed(covid_ct, split, name, set(images[name]))
        ]
    if new_data != "none":
        later = read_new_data(Path(la_dnn) / "New_data", lesions_from)
        splits.setdefault("new" if new_data == "split" else "train", []).extend(later)
    return write_slices(splits, Path(output))


def _listed(covid_ct: Path, split: str, name: str, known: set[str]) -> list[tuple[str, str]]:
    """File names of one class in one split, each after the list and row that names it.

    They are checked against the images and the published count.
    """
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
    return [(f"{path}, row {row}", file_name) for row, file_name in enumerate(file_names, start=1)]


def _positive_reports(
    covid_ct: Path, la_dnn: Path | None, lesions_from: str, known: set[str]
) -> dict[str, _Report]:
    reports = _reports_from_workbook(covid_ct / "COVID-CT-MetaInfo.xlsx", known)
    lesions = {}
    if la_dnn is not None:
        folder = Path(la_dnn) / "data_split"
        lesions = _lesions(folder, known)
        for file_name, caption in _captions(folder / "COVID-CT-MetaInfo_new.csv", known).items():
            reports[file_name] = replace(reports.get(file_name, _Report()), caption=caption)
    if lesions_from == "reports":
        lesions = lesions_from_reports({name: report.caption for name, report in reports.items()})
    return {
        file_name: replace(report, lesions=lesions.get(file_name, NO_LESIONS))
        for file_name, report in reports.items()
    }


def _captions(path: Path, known: set[str]) -> dict[str, str | None]:
    """LA-DNN's captions: those of the workbook, with some corrected."""
    captions, rows = {}, {}
    for number, row in enumerate(read_table(path)[1:], start=2):
        if len(row) != 9:
            raise ValueError(
                f"{path}, row {number}: expected 9 columns, found {len(row)}; download it again."
            )
        file_name = _known_name(row[0], known, path, number)
        check_once(rows, file_name, path, number)
        captions[file_name] = _caption(row[8])
    return captions


def _lesions(folder: Path, known: set[str]) -> dict[str, tuple[float, ...]]:
    """The five lesion labels of every positive that the authors labelled with at least one.

    The published training code asks these tables for two columns by misspelt names and so never saw
    an air bronchogram or a septal thickening; the tables themselves spell them as here.
    """
    lesions = {}
    for name in SPLITS.values():
        path, rows = folder / f"{name}_meta.csv", {}
        for number, row in read_records(path, {"imgname", *LESIONS}):
            check_once(rows, row["imgname"], path, number)
            values = tuple(float(bool(row[lesion])) for lesion in LESIONS)
            if any(values):
                lesions[_known_name(row["imgname"], known, path, number)] = values
    return lesions


def _reports_from_workbook(path: Path, known: set[str]) -> dict[str, _Report]:
    import openpyxl  # only for those who build COVID-CT

    if not path.is_file():
        raise missing_file(path)
    try:
        sheet = openpyxl.load_workbook(path, read_only=True).worksheets[0]
        rows = enumerate(sheet.iter_rows(values_only=True), start=1)
        header = next(rows)[1]
    except (zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise ValueError(f"{path}: expected an Excel workbook, found none; download it again.") from error
    missing = {"File name", "Patient ID", "DOI", "Captions"} - set(header)
    if missing:
        raise ValueError(f"{path}: expected the column {missing.pop()!r}, found none; download it again.")
    reports, numbers = {}, {}
    for number, cells in rows:
        row = dict(zip(header, cells, strict=False))
        if row["File name"]:
            file_name = _known_name(row["File name"], known, path, number)
            check_once(numbers, file_name, path, number)
            reports[file_name] = _Report(
                patient_id=row["Patient ID"],
                caption=_caption(row["Captions"] or ""),
                source=paper_of(file_name) or "".join((row["DOI"] or "").split()) or None,
            )
    return reports


def _negative_reports(covid_ct: Path, known: set[str]) -> dict[str, _Report]:
    """Patients alone: the papers that printed the negatives are not told."""
    path = covid_ct / "NonCOVID-CT-MetaInfo.csv"
    reports, rows = {}, {}
    for number, row in read_records(path, {"image name", "patient id"}):
        file_name = _known_name(row["image name"], known, path, number)
        check_once(rows, file_name, path, number)
        reports[file_name] = _Report(row["patient id"])
    return reports


def _known_name(name: str, known: set[str], path: Path, row: int) -> str:
    """The file that a table means: some rows leave the suffix out."""
    for candidate in (name, *(f"{name}{suffix}" for suffix in SUFFIXES)):
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

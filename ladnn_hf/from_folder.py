"""A folder of a user's own slices, with class folders or a `metadata.csv`, to a slice data set."""

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from datasets import DatasetDict
from tqdm import tqdm

from .archives import list_images, read_file
from .dicom import PREAMBLE, is_dicom
from .labels import CLASSES, LESIONS
from .patient_split import split_patients
from .picture_metadata import without_metadata
from .reading import UnreadableSlice, read_slice
from .slice_dataset import NO_LESIONS, SPLITS, SliceFile, lesions_from_reports, write_slices
from .tables import check_once, read_records

METADATA = "metadata.csv"
_LABELS = {**{name: name for name in CLASSES}, **{str(index): name for index, name in enumerate(CLASSES)}}
_ALIASES = {"NonCOVID": ("non-COVID",)}
"""What SARS-CoV-2-CT calls the folder of a class."""
_CELLS = {"0": 0.0, "1": 1.0}
_COLUMNS = ("file_name", "label", "patient_id", *LESIONS, "caption", "source")
_REMEDY = "correct the table and save it as CSV in UTF-8"


def build_from_folder(
    folder: Path,
    *,
    output: Path,
    fractions: tuple[float, float, float] | None = None,
    seed: int = 42,
    alike_together: bool = False,
    lesions_from: str = "tables",
) -> DatasetDict:
    """Build a data set from slices of one's own; what their files say beside the pixels is left out.

    Slices are pictures, or DICOM files of one frame, which become PNG in the lung window.

    Args:
        folder: Holds `COVID/` and `NonCOVID/` (folders or zips), or a `metadata.csv` with the columns
            `file_name` (relative to it) and `label` (COVID or NonCOVID, 1 or 0) and, as known,
            `patient_id`, the five of `LESIONS` (1 or 0, all empty for no label), `caption`, `source`.
            Or it holds `train/`, `validation/`, `test/`, each such a folder.
        output: The folder to write, which is not there yet.
        fractions: The parts of train, validation and test, which sum to 1, to split the slices of one
            folder so that no patient is in two splits; a slice without `patient_id` is taken for a
            patient of its own.
        seed: Decides who goes to which split.
        alike_together: Keep slices without `patient_id` that are near duplicates in one split, as those
            of a patient: neighbours in one scan must not be in two.
        lesions_from: `tables` takes the columns of lesions, `reports` reads the captions instead.

    Returns:
        The splits of the folder or those asked for, or else `train` alone; rows have `FEATURES`.

    Raises:
        ValueError: The folder is laid out in another way, a row is wrong, a file is missing or broken,
            or `output` is there already.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder of slices, found none; check the name.")
    present = [split for split in SPLITS if (folder / split).is_dir()]
    if present and fractions:
        raise ValueError(
            f"{folder}: expected a folder that is not split yet, found {present[0]}/ in it; leave the split "
            "as it is or move all slices to one folder."
        )
    if present:
        _check_beside(folder, present)
        splits = {split: _read(folder / split, lesions_from) for split in present}
    else:
        splits = {"train": _read(folder, lesions_from)}
    if fractions:
        parts = dict(zip(SPLITS, fractions, strict=True))
        splits = _split(splits["train"], parts, seed, alike_together)
        if empty := [split for split, files in splits.items() if not files]:
            raise ValueError(
                f"{folder}: expected patients for {len(splits)} splits, found none left for "
                f"{' and '.join(empty)}; give more slices or ask for fewer splits."
            )
    for split, files in splits.items():
        if lacking := [name for name in CLASSES if name not in {file.label for file in files}]:
            warnings.warn(
                f"{folder}: the split {split} has no {' and no '.join(lacking)} slice.", stacklevel=2
            )
    return write_slices(splits, Path(output))


def _read(folder: Path, lesions_from: str) -> list[SliceFile]:
    if (folder / METADATA).is_file():
        files = _from_metadata(folder, lesions_from)
    elif lesions_from == "tables":
        files = _from_class_folders(folder)
    else:
        raise ValueError(
            f"{folder / METADATA}: expected this table with the reports in its column caption, found none; "
            "write it or leave out the reports."
        )
    if not files:
        raise ValueError(f"{folder}: expected images, found none; name another folder.")
    return [replace(file, read=partial(_alone, file)) for file in files]


def _alone(file: SliceFile) -> bytes:
    """A picture as it is packed, DICOM as PNG in the lung window; nothing of who it is of."""
    content = file.read()
    try:
        if not is_dicom(content[:PREAMBLE], PurePosixPath(file.file_name).suffix):
            return without_metadata(content)
        png, stream = io.BytesIO(), io.BytesIO(content)
        stream.name = file.file_name  # by which DICOM without a preamble is known
        read_slice(stream).save(png, "PNG")
        return png.getvalue()
    except UnreadableSlice as error:
        raise ValueError(f"{file.where}: {file.file_name}: {error}") from error


def _from_class_folders(folder: Path) -> list[SliceFile]:
    holders = {
        name: folder / alias
        for name in CLASSES
        for alias in (name, *_ALIASES.get(name, ()))
        if _is_there(folder / alias)
    }
    if not holders:
        raise ValueError(
            f"{folder}: expected {METADATA} or the folders {' and '.join(CLASSES)}, found neither; name the "
            "folders so or write the table."
        )
    _check_beside(folder, [holder.name for holder in holders.values()])
    return [
        SliceFile(where=str(holder), read=read, file_name=f"{name}/{path}", label=name)
        for name, holder in holders.items()
        for path, read in list_images(holder).items()
    ]


def _is_there(holder: Path) -> bool:
    return holder.is_dir() or holder.with_name(f"{holder.name}.zip").is_file()


def _check_beside(folder: Path, known: list[str]) -> None:
    """Raise where there are images outside the known folders: what was meant by them is unclear."""
    stray = next((path for path in list_images(folder) if path.split("/")[0] not in known), None)
    if stray is not None:
        raise ValueError(
            f"{folder / stray}: expected images in {', '.join(known)} alone, found one elsewhere; move it to "
            f"the folder of its class ({' or '.join(CLASSES)}) or split ({', '.join(SPLITS)})."
        )


def _from_metadata(folder: Path, lesions_from: str) -> list[SliceFile]:
    path = folder / METADATA
    columns = {"file_name", "label"} | ({"caption"} if lesions_from == "reports" else set())
    files: list[SliceFile] = []
    numbers: dict[str, int] = {}
    for number, row in read_records(path, columns, encoding="utf-8", remedy=_REMEDY):
        if not files:
            _check_columns(path, row)
        where = f"{path}, row {number}"
        file_name = _file_name(folder, row["file_name"], where)
        check_once(numbers, file_name, path, number, _REMEDY)
        if (label := row["label"].strip()) not in _LABELS:
            raise ValueError(
                f"{where}: expected the label COVID or NonCOVID (1 or 0), found {label!r}; {_REMEDY}."
            )
        files.append(
            SliceFile(
                where=where,
                read=partial(read_file, folder / file_name),
                file_name=file_name,
                label=_LABELS[label],
                lesions=_lesions(row, where) if lesions_from == "tables" else NO_LESIONS,
                **{name: row.get(name, "").strip() or None for name in ("patient_id", "caption", "source")},
            )
        )
    if unlisted := [name for name in list_images(folder) if name not in numbers]:
        warnings.warn(
            f"{folder}: {len(unlisted)} images are not in {METADATA} and left out, first {unlisted[0]}.",
            stacklevel=4,
        )
    if lesions_from == "reports":
        lesions = lesions_from_reports({file.file_name: file.caption for file in files})
        files = [replace(file, lesions=lesions.get(file.file_name, NO_LESIONS)) for file in files]
    return files


def _check_columns(path: Path, names: Iterable[str]) -> None:
    """Nothing that was meant is passed over in silence: a patient could come to lie in two splits."""
    meant = {name.replace("_", "").lower(): name for name in _COLUMNS}
    unknown = [name for name in names if name and name not in _COLUMNS]
    for name in unknown:
        if (column := meant.get(re.sub(r"[\W_]", "", name).lower())) is not None:
            raise ValueError(f"{path}: expected the column {column}, found {name!r}; name it so.")
    if unknown:
        warnings.warn(
            f"{path}: the columns {', '.join(unknown)} are left out; known are {', '.join(_COLUMNS)}.",
            stacklevel=5,
        )


def _file_name(folder: Path, cell: str, where: str) -> str:
    path = PurePosixPath(cell.strip())
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(
            f"{where}: expected a file inside the folder, found {cell!r}, which leads out of it; {_REMEDY}."
        )
    if not (folder / path).is_file():
        raise ValueError(f"{where}: expected a file in {folder}, found no {cell!r}; {_REMEDY}.")
    return path.as_posix()


def _lesions(row: dict[str, str], where: str) -> tuple[float, ...]:
    cells = [row.get(lesion, "").strip() for lesion in LESIONS]
    if not any(cells):
        return NO_LESIONS
    if not set(cells) <= set(_CELLS):
        raise ValueError(
            f"{where}: expected 1 or 0 for each of {', '.join(LESIONS)}, or five empty cells, found "
            f"{','.join(cells)!r}; {_REMEDY}."
        )
    return tuple(_CELLS[cell] for cell in cells)


def _split(
    files: list[SliceFile], fractions: dict[str, float], seed: int, alike_together: bool
) -> dict[str, list[SliceFile]]:
    asked = {split: part for split, part in fractions.items() if part > 0}
    unknown = [file for file in files if not file.patient_id]
    groups = _alike(unknown) if alike_together else [file.file_name for file in unknown]
    # No id begins with a line break, so that a file on its own is never taken for a patient.
    stand_in = {file.file_name: f"\n{group}" for file, group in zip(unknown, groups, strict=True)}
    patients = [file.patient_id or stand_in[file.file_name] for file in files]
    names = split_patients(patients, [file.label for file in files], asked, seed)
    splits = {split: [] for split in asked}
    for file, split in zip(files, names, strict=True):
        splits[split].append(file)
    return splits


def _alike(files: list[SliceFile]) -> list[int]:
    from .near_duplicates import alike_groups  # OpenCV and faiss: only for who asks for it

    def greys() -> Iterator[np.ndarray]:
        for file in tqdm(files, desc="looking for near duplicates", unit="slice", delay=2, disable=None):
            try:
                yield np.asarray(read_slice(io.BytesIO(file.read())))
            except UnreadableSlice as error:
                raise ValueError(f"{file.where}: {file.file_name}: {error}") from error

    return alike_groups(greys()).tolist()

"""Data sets of labelled CT slices: their features, one row from a file's bytes, saving and loading."""

import io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value, load_from_disk

from .labels import CLASSES, LESIONS
from .reading import UnreadableSlice, decode

FEATURES = Features(
    {
        "image": Image(),
        "label": ClassLabel(names=list(CLASSES)),
        "lesions": List(Value("float32"), length=len(LESIONS)),
        "file_name": Value("string"),
        "patient_id": Value("string"),
        "caption": Value("string"),
        "format": Value("string"),
        "mode": Value("string"),
        "width": Value("int32"),
        "height": Value("int32"),
    }
)
"""Features of every slice data set: `lesions` holds 0, 1 or NaN (no label) in the order of `LESIONS`;
`format` and `mode` are Pillow's words for the file as found; `width` and `height` are in pixels."""

NO_LESIONS = (float("nan"),) * len(LESIONS)
"""Lesion labels of a slice that has none."""


def slice_row(
    content: bytes,
    *,
    file_name: str,
    label: str,
    lesions: tuple[float, ...] = NO_LESIONS,
    patient_id: str | None = None,
    caption: str | None = None,
) -> dict:
    """One row of `FEATURES` from an image file's bytes, which are kept as they are.

    Raises:
        ValueError: The bytes do not decode to an image.
    """
    try:
        picture = decode(io.BytesIO(content))
    except UnreadableSlice as error:
        raise ValueError(f"{file_name}: {error}") from error
    return {
        "image": {"bytes": content, "path": file_name},
        "label": label,
        "lesions": list(lesions),
        "file_name": file_name,
        "patient_id": patient_id,
        "caption": caption,
        "format": picture.format,
        "mode": picture.mode,
        "width": picture.width,
        "height": picture.height,
    }


def save_slices(slices: DatasetDict, output: Path) -> None:
    """Write a data set to a folder that appears whole or not at all.

    Raises:
        ValueError: The folder is there already.
    """
    with new_folder(output) as unfinished:
        slices.save_to_disk(unfinished)


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `output` when all is well and vanishes when it is not.

    Raises:
        ValueError: `output` is there already: a data set or a model is never overwritten.
    """
    check_output(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as unfinished:
        folder = Path(unfinished) / output.name
        folder.mkdir()
        yield folder
        shutil.move(folder, output)


def check_output(output: Path) -> None:
    """Raise `ValueError` where a folder that is to be written is there already."""
    if output.exists():
        raise ValueError(
            f"{output}: expected a folder that is not there yet, found one; remove it or name another."
        )


def load_slices(path: str | Path) -> DatasetDict:
    """Load a data set that `ladnn data build` or `DatasetDict.save_to_disk` wrote.

    It needs `image` and `label` (0 NonCOVID, 1 COVID); `lesions` may be missing altogether.

    Raises:
        ValueError: The folder holds no such data set.
    """
    path = Path(path)
    remedy = "make one with `ladnn data build`"
    try:
        slices = load_from_disk(str(path))
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{path}: expected a saved slice data set, found none; {remedy}.") from error
    if not isinstance(slices, DatasetDict):
        raise ValueError(f"{path}: expected a data set with named splits, found one without; {remedy}.")
    for split, rows in slices.items():
        _check_columns(rows, f"{path}, split {split}")
    return slices


def _check_columns(rows: Dataset, where: str) -> None:
    for column in ("image", "label"):
        if column not in rows.column_names:
            raise ValueError(
                f"{where}: expected the columns image and label, found no {column}; rename your column with "
                "`rename_column`."
            )
    names = getattr(rows.features["label"], "names", list(CLASSES))
    labels = set(rows.unique("label"))
    if names != list(CLASSES) or not labels <= {0, 1}:
        raise ValueError(
            f"{where}: expected the labels 0 {CLASSES[0]} and 1 {CLASSES[1]}, found "
            f"{sorted(map(str, labels))} of {names}; map your labels to 0 and 1."
        )
    lesions = next(iter(rows["lesions"]), None) if "lesions" in rows.column_names else None
    if lesions is not None and len(lesions) != len(LESIONS):
        raise ValueError(
            f"{where}: expected {len(LESIONS)} lesion labels a slice ({', '.join(LESIONS)}), found "
            f"{len(lesions)}; give all five, NaN for no label."
        )

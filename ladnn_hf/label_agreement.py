"""How well the lesions read from the captions of a data set agree with its lesion labels."""

from dataclasses import dataclass

import numpy as np
from datasets import DatasetDict
from sklearn.metrics import f1_score

from .labels import CLASSES, LESIONS
from .reports import read_figures
from .slice_dataset import file_names, values_of


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement of two ways to label lesions, over the positives that have a caption.

    Attributes:
        table: One row a split and lesion, and "all" for either: F1 (NaN where nobody saw the lesion),
            how often the data set's labels have it and how often the captions name it.
        disagreements: The slices on which the two differ, each with its caption.
    """

    table: list[dict]
    disagreements: list[dict]


def compare_labels(slices: DatasetDict) -> LabelAgreement:
    """Read the captions of a data set and compare with its lesion labels.

    A positive without lesion labels counts as one in which no lesion was found: so COVID-CT's tables
    mean it. Panels are told apart over all splits, since a figure's panels may lie in several.

    Raises:
        ValueError: The data set has no captions or no lesion labels.
    """
    rows = [row for split, part in slices.items() for row in _positives(split, part)]
    if not any(row["caption"] for row in rows) or not any(row["labels"] for row in rows):
        raise ValueError(
            "expected positives with captions and lesion labels, found none; build the data set with "
            "`--la-dnn`, or give both in metadata.csv."
        )
    read = read_figures({row["key"]: row["caption"] for row in rows})
    rows = [row | {"read": _names(read[row["key"]])} for row in rows if row["key"] in read]
    table = [
        {"split": split, "lesion": lesion} | _score(part, kept)
        for split in (*slices, "all")
        if (part := [row for row in rows if split in (row["split"], "all")])
        for lesion, kept in (*((name, (name,)) for name in LESIONS), ("all", LESIONS))
    ]
    keys = ("split", "file_name", "labels", "read", "caption")
    disagreements = [{key: row[key] for key in keys} for row in rows if row["labels"] != row["read"]]
    return LabelAgreement(table, disagreements)


def to_markdown(agreement: LabelAgreement) -> str:
    """The table, then every disagreement with its caption."""
    lines = ["| split | lesion | F1 | labelled | read |", "|---|---|---|---|---|"]
    for row in agreement.table:
        f1 = "–" if np.isnan(row["f1"]) else f"{row['f1']:.3f}"
        lines.append(f"| {row['split']} | {row['lesion']} | {f1} | {row['labelled']} | {row['read']} |")
    lines += ["", f"{len(agreement.disagreements)} disagreements:"]
    for row in agreement.disagreements:
        said = {key: " ".join(row[key]) or "none" for key in ("labels", "read")}
        lines.append(
            f"\n{row['split']}, {row['file_name']}: labels {said['labels']}; read {said['read']}"
            f"\n    {row['caption']}"
        )
    return "\n".join(lines) + "\n"


def _positives(split: str, rows) -> list[dict]:
    return [
        {
            "key": f"{name}\n{split} {number}",  # two splits may have a file of one name
            "split": split,
            "file_name": name,
            "caption": caption,
            "labels": _names(lesions or ()),
        }
        for number, (name, label, lesions, caption) in enumerate(
            zip(
                file_names(rows),
                rows["label"],
                values_of(rows, "lesions"),
                values_of(rows, "caption"),
                strict=True,
            )
        )
        if CLASSES[label] == "COVID"
    ]


def _names(lesions) -> list[str]:
    return [name for name, value in zip(LESIONS, lesions, strict=False) if value == 1]


def _score(rows: list[dict], lesions: tuple[str, ...]) -> dict:
    labelled, read = (
        np.array([[name in row[key] for name in lesions] for row in rows]) for key in ("labels", "read")
    )
    f1 = f1_score(labelled.ravel(), read.ravel(), zero_division=np.nan)
    return {"f1": float(f1), "labelled": int(labelled.sum()), "read": int(read.sum())}

"""What is wrong with a data set: duplicates, leaks, contradictions, shortcuts, and what is too rare.

The checks measure; nothing in them is a list of COVID-CT's faults. A finding is a leak where it lets a model
be tested on what it was trained on: one image, one scan, one patient or one paper in two splits.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from tqdm import tqdm

from . import __version__
from .findings import all_findings, title_of
from .labels import CLASSES, LESIONS
from .near_duplicates import FeatureStore
from .shortcuts import file_only_scores
from .slice_dataset import SPLITS, file_names, image_bytes, stream_rows, to_lesion_labels, values_of
from .slice_facts import FACTS, slice_facts

_KNOWN = ("label", "patient_id", "source", "caption", "lesions")
"""What a data set may say of a slice."""


def audit(slices: DatasetDict, name: str, folder: Path | None = None) -> dict[str, Any]:
    """Find what is wrong with a slice data set.

    Args:
        slices: Any data set with `image` and `label`; the other columns of `FEATURES` are used where they
            are.
        name: What to call it.
        folder: Where temporary files are made, some 50 kB a slice.

    Returns:
        `version`, `dataset`, `leak`, `splits` (see `split_facts`), `file_only` (see `file_only_scores`)
        and `findings`, each with `kind` (of `findings.TITLES`), `leak`, `summary`, `evidence` and `rows`;
        a row has `split`, `file_name`, `row` (its number in the split), `label`, and `caption` where that
        is the finding.
    """
    with FeatureStore(folder) as store:
        facts = _read(slices, store)
        pairs = list(store.pairs())
    file_only = file_only_scores(facts[facts["fault"].isna()])
    findings = all_findings(facts, pairs, file_only)
    return {
        "version": __version__,
        "dataset": name,
        "leak": any(finding["leak"] for finding in findings),
        "splits": {split: split_facts(rows) for split, rows in slices.items()},
        "file_only": file_only,
        "findings": findings,
    }


def split_facts(rows: Dataset) -> dict[str, Any]:
    """Counts of one split: `slices`, `classes`, `patients`, `sources`, `lesions` (`present` of `labelled`).

    Where the columns are there also `width` and `height` as `[least, median, most]` pixels, and how many
    slices have each of `formats` and `modes`.
    """
    lesions = to_lesion_labels(values_of(rows, "lesions"))
    facts = {
        "slices": len(rows),
        "classes": {name: list(rows["label"]).count(index) for index, name in enumerate(CLASSES)},
        "patients": _different(values_of(rows, "patient_id")),
        "sources": _different(values_of(rows, "source")),
        "lesions": {
            lesion: {
                "present": int(np.nansum(lesions[:, at])),
                "labelled": int((~np.isnan(lesions[:, at])).sum()),
            }
            for at, lesion in enumerate(LESIONS)
        },
    }
    for name in ("width", "height"):
        if name in rows.column_names and len(rows):
            facts[name] = [int(value) for value in np.percentile(rows[name], [0, 50, 100])]
    for name in ("format", "mode"):
        if name in rows.column_names:
            facts[f"{name}s"] = dict(Counter(map(str, rows[name])).most_common())
    return facts


def facts(report: dict[str, Any]) -> dict[str, Any]:
    """An audit without any row, file name or caption: what may be shown where the data may not.

    Its `findings` are counts, one for each `title`: `kind`, `leak`, how many `findings`, how many `slices`.
    """
    groups: dict[tuple, dict] = {}
    for finding in report["findings"]:
        title = title_of(finding)
        group = groups.setdefault((finding["kind"], title, finding["leak"]), {"findings": 0, "slices": set()})
        group["findings"] += 1
        group["slices"] |= {(row["split"], row["row"]) for row in finding["rows"]}
    return report | {
        "findings": [
            {
                "kind": kind,
                "title": title,
                "leak": leak,
                "findings": group["findings"],
                "slices": len(group["slices"]),
            }
            for (kind, title, leak), group in groups.items()
        ]
    }


def exclusions(report: dict[str, Any]) -> dict[tuple[str, int], str]:
    """The slices that an audit proves wrong, by split and row, each with the reason.

    They are the later split's slice of an image that is in two (what is tested on is to be new, what is
    trained on may stay), every slice of an image with two labels, every slice whose caption contradicts its
    label, and what is no readable slice. Slices of a patient or a paper in two splits stay: they are listed,
    but not wrong.
    """
    later = {split: number for number, split in enumerate(SPLITS)}
    reasons: dict[tuple[str, int], str] = {}
    for finding in report["findings"]:
        rows, evidence = finding["rows"], finding["evidence"]
        if finding["kind"] == "same_image":
            splits = sorted({row["split"] for row in rows}, key=lambda split: later.get(split, len(SPLITS)))
            wrong = [row for row in rows if evidence["two_labels"] or row["split"] != splits[0]]
        elif finding["kind"] in ("caption_contradicts_label", "unreadable", "tiny", "blank", "not_ct"):
            wrong = rows
        else:
            continue
        for row in wrong:
            reasons.setdefault((row["split"], row["row"]), finding["summary"])
    return reasons


def _read(slices: DatasetDict, store: FeatureStore) -> pd.DataFrame:
    """One pass over all images: facts of each slice, and its features into the store."""
    total = sum(map(len, slices.values()))
    records = []
    with tqdm(total=total, desc="reading", unit="slice", delay=2, disable=None) as bar:
        for split, rows in slices.items():
            for number, (row, name) in enumerate(zip(stream_rows(rows), file_names(rows), strict=True)):
                known = {name: row.get(name) for name in _KNOWN}
                found, grey = slice_facts(image_bytes(row["image"]), name)
                store.add(grey if grey is not None else np.zeros((64, 64), np.uint8))
                records.append({"split": split, "row": number, "file_name": name} | known | found)
                bar.update()
    return pd.DataFrame(records, columns=["split", "row", "file_name", *_KNOWN, *FACTS])


def _different(values: Iterable) -> int:
    return len({value for value in values if value is not None})

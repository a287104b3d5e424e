"""A slice data set to the Hub: Parquet with its images inside, a card with its facts, and nothing else."""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datasets import DatasetDict

from .audit import facts, split_facts
from .cards import LesionAgreement, dataset_card
from .hub import check_repo_id, push_files
from .metrics import to_json
from .parquet_shards import write_shards
from .slice_dataset import load_slices
from .uploads import Commit, Upload

_REPLACES = ("README.md", "data_facts.json", "data/*.parquet")
"""What a push writes; what an earlier one left of it and this one does not write goes."""


def push_dataset(
    dataset: str | Path,
    repo_id: str,
    *,
    audit: Path | None = None,
    public: bool = False,
    dry_run: bool = False,
) -> Commit:
    """Push a saved data set of slices, so that `datasets.load_dataset(repo_id)` gives it back.

    Args:
        dataset: The folder that `ladnn data build` wrote.
        repo_id: `OWNER/NAME`; it is made if it is not there.
        audit: `audit.json` of this very data set, whose findings go into the card.
        public: Let everybody see the images. Only who may share them may say so.
        dry_run: Prepare everything, look what is there, and send nothing.

    Raises:
        ValueError: The folder is no data set, the audit is not its audit, or the Hub does not take it.
    """
    check_repo_id(repo_id)
    slices = load_slices(dataset)
    _check_splits(slices)
    splits = {split: split_facts(rows) for split, rows in slices.items()}
    audited = None if audit is None else facts(_read_audit(Path(audit), splits))
    with _written(repo_id, slices, splits, audited) as uploads:
        rows = sum(map(len, slices.values()))
        return push_files(
            uploads,
            repo_id,
            repo_type="dataset",
            message=f"Push {rows} slices with ladnn_hf",
            public=public,
            replaces=_REPLACES,
            dry_run=dry_run,
        )


def _check_splits(slices: DatasetDict) -> None:
    for split, rows in slices.items():
        if not len(rows):  # one such split, and `load_dataset` loads none
            raise ValueError(f"split {split}: expected slices, found none; save the data set without it.")
        if not re.fullmatch(r"\w+(\.\w+)*", split, re.ASCII):
            raise ValueError(
                f"split {split!r}: expected a name of letters, digits, '_' and '.', found others; save the "
                "data set with another name."
            )


@contextmanager
def _written(
    repo_id: str, slices: DatasetDict, splits: dict[str, dict], audited: dict[str, Any] | None
) -> Iterator[list[Upload]]:
    """Everything that goes to the Hub, written to a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="ladnn-push-") as folder:
        shards = {split: write_shards(split, rows, Path(folder)) for split, rows in slices.items()}
        card = dataset_card(repo_id, slices, splits, shards, audited, _agreement(slices))
        uploads = [Upload("README.md", card.encode())]
        if audited is not None:
            uploads.append(Upload("data_facts.json", to_json(audited).encode()))
        uploads += [Upload(f"data/{path.name}", path) for part in shards.values() for path in part.paths]
        yield uploads


def _agreement(slices: DatasetDict) -> LesionAgreement | None:
    """Lesions read off the captions against the lesion labels; None where either is missing."""
    columns = {name for rows in slices.values() for name in rows.column_names}
    if not {"caption", "lesions"} <= columns:
        return None
    from .label_agreement import compare_labels  # spaCy takes seconds to import

    try:
        agreement = compare_labels(slices)
    except ValueError:  # the columns are there and empty
        return None
    (overall,) = (row for row in agreement.table if row["split"] == row["lesion"] == "all")
    return LesionAgreement(same=not agreement.disagreements, f1=overall["f1"])


def _read_audit(path: Path, splits: dict[str, dict]) -> dict[str, Any]:
    """Read `audit.json`; it must have counted in each split what we count there now."""
    remedy = "make one with `ladnn data audit`"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        audited = report["splits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the audit.json of an audit, found none; {remedy}.") from error
    if audited != json.loads(json.dumps(splits)):
        raise ValueError(
            f"{path}: expected an audit of this data set, found one of other slices or by another version; "
            f"{remedy}."
        )
    return report

"""The card of a data set: template and fixed facts of `model_card/`, and what was counted in the data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from datasets import DatasetDict, DatasetInfo
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from huggingface_hub import DatasetCard, DatasetCardData

from . import __version__
from .covid_ct import COUNTS
from .labels import CLASSES, LESION_NAMES
from .parquet_shards import Shards
from .rendering import render
from .resources import model_card_folder

_SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))
"""The Hub's words for how large a data set is, and below how many rows each holds."""


@dataclass(frozen=True)
class LesionAgreement:
    """How well lesions read off the captions by rules agree with the labels: exactly, or with what F1."""

    same: bool
    f1: float


def dataset_card(
    repo_id: str,
    slices: DatasetDict,
    splits: Mapping[str, Mapping[str, Any]],
    shards: Mapping[str, Shards],
    audit: Mapping[str, Any] | None = None,
    agreement: LesionAgreement | None = None,
) -> str:
    """The card of a data set of slices, with the metadata by which `load_dataset` finds its Parquet files.

    Args:
        repo_id: Where the data set goes.
        slices: The data set.
        splits: What `audit.split_facts` says of each split.
        shards: The Parquet files of each split, which go to `data/`.
        audit: What `audit.facts` says; without it the card says that nobody looked.
        agreement: Lesions by rules against the lesion labels, where there are captions.

    Raises:
        ValueError: The features do not survive the card's metadata, so that the Hub could not load them.
    """
    known = _known(splits)
    total = {
        "slices": sum(facts["slices"] for facts in splits.values()),
        "sources": sum(facts["sources"] for facts in splits.values()),
        "classes": {name: sum(facts["classes"][name] for facts in splits.values()) for name in CLASSES},
    }
    metadata = _metadata(repo_id, slices, shards, known, total["slices"])
    labelled = (lesion["labelled"] for facts in splits.values() for lesion in facts["lesions"].values())
    card = render(
        model_card_folder(),
        "dataset_card.md.jinja",
        metadata=metadata.to_yaml(),
        metadata_facts=metadata,
        repo_id=repo_id,
        version=__version__,
        splits=splits,
        total=total,
        classes=CLASSES,
        columns=list(next(iter(slices.values())).features),
        lesions=any(labelled),
        lesion_names=LESION_NAMES,
        known=known,
        audit=audit,
        agreement=agreement,
    )
    _check_features(card, slices)
    return card


def _known(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The fixed facts of COVID-CT, where these are its official splits; None for any other data set."""
    counts = {(split, name): splits.get(split, {}).get("classes", {}).get(name) for split, name in COUNTS}
    if counts != COUNTS:
        return None
    return yaml.safe_load((model_card_folder() / "covid_ct.yaml").read_text(encoding="utf-8"))


def _metadata(
    repo_id: str, slices: DatasetDict, shards: Mapping[str, Shards], known: dict[str, Any] | None, rows: int
) -> DatasetCardData:
    fixed = {"pretty_name": repo_id.split("/")[1], "license": "unknown"}
    if known:
        fixed = {name: known[name] for name in ("pretty_name", "license", "license_name", "license_link")}
    data = DatasetCardData(
        **fixed,
        language=["en"],
        task_categories=["image-classification"],
        size_categories=[next((size for size, end in _SIZES if rows < end), "n>1M")],
        tags=["medical", "radiology", "ct", "chest-ct", "covid-19"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in slices],
            }
        ],
    )
    info = DatasetInfo(
        features=next(iter(slices.values())).features,
        splits=SplitDict(
            {split: SplitInfo(split, part.row_bytes, part.rows) for split, part in shards.items()}
        ),
        download_size=sum(path.stat().st_size for part in shards.values() for path in part.paths),
        dataset_size=sum(part.row_bytes for part in shards.values()),
    )
    DatasetInfosDict(default=info).to_dataset_card_data(data)
    return data


def _check_features(card: str, slices: DatasetDict) -> None:
    infos = DatasetInfosDict.from_dataset_card_data(DatasetCard(card).data)
    for split, rows in slices.items():
        if rows.features != infos["default"].features:
            raise ValueError(
                f"split {split}: expected features that the Hub can tell and every split shares, found "
                f"{rows.features}; cast them with `cast_column`."
            )

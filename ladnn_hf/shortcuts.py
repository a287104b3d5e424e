"""How well the file alone, no pixel of the lungs read, tells the label: what a model must not need."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score

from .metrics import auc, with_intervals
from .slice_dataset import patient_numbers

FILE = ("suffix", "format", "mode", "width", "height")
"""What the file's name and header say."""
TRACES = (*FILE, "aspect", "quality", "border", "border_grey", "bytes_per_pixel")
"""And what of it lasts when the file is decoded: shape, compression and margins."""


def file_only_scores(facts: pd.DataFrame) -> dict[str, Any] | None:
    """Fit a random forest on facts of the files of one split and score it on another.

    Args:
        facts: One row a slice, with `split`, `label` (0 or 1), `patient_id` and the facts of
            `slice_facts`.

    Returns:
        `fitted_on`, `scored_on` (`train`, and `test` or else `validation`), and for the facts of `FILE`
        `features`, `auc` and `accuracy` as `[value, low, high]`; the same of `TRACES` under `traces`.
        None where there are no two such splits with both classes, or the second is of one patient alone.
    """
    scored_on = next((name for name in ("test", "validation") if (facts["split"] == name).any()), None)
    parts = facts[facts["split"] == "train"], facts[facts["split"] == scored_on]
    patients = patient_numbers(parts[1]["patient_id"])
    if any(part["label"].nunique() < 2 for part in parts) or len(np.unique(patients)) < 2:
        return None
    scores = {"fitted_on": "train", "scored_on": scored_on}
    return scores | _score(*parts, patients, FILE) | {"traces": _score(*parts, patients, TRACES)}


def _score(
    train: pd.DataFrame, test: pd.DataFrame, patients: np.ndarray, features: tuple[str, ...]
) -> dict[str, Any]:
    values = (
        pd.get_dummies(_columns(pd.concat([train, test]), features), dummy_na=True).astype(float).fillna(-1)
    )
    forest = RandomForestClassifier(300, random_state=0, n_jobs=-1).fit(
        values.iloc[: len(train)], train["label"]
    )
    said = forest.predict_proba(values.iloc[len(train) :])[:, 1]
    labels = test["label"].to_numpy()
    return {"features": list(features)} | with_intervals(_auc_and_accuracy, labels, said, patients=patients)


def _auc_and_accuracy(labels: np.ndarray, said: np.ndarray) -> dict[str, float]:
    return {"auc": auc(labels, said), "accuracy": float(accuracy_score(labels, said >= 0.5))}


def _columns(facts: pd.DataFrame, features: tuple[str, ...]) -> pd.DataFrame:
    facts = facts.assign(bytes_per_pixel=facts["bytes"] / np.maximum(facts["width"] * facts["height"], 1))
    return facts[list(features)]

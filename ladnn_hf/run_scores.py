"""Scores of training runs: their spread over seeds, what the lesion task gains, data that was left out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict
from scipy.stats import rankdata, ttest_rel

from .inference import Predictor
from .metrics import auc, interval, lesion_scores
from .run_metrics import read_metrics
from .score_table import score_external
from .slice_dataset import patient_numbers, to_lesion_labels, values_of
from .slice_scores import score_slices


def score_seeds(by_seed: dict[int, str], rows: Dataset) -> list[dict[str, Any]]:
    """Score runs on a split.

    Returns:
        Of each `run`, by `seed`: whether it has a `gate`, how many slices were `refused`, `auc` with
        interval, and `validation_auc` as training measured it.
    """
    labels, patients = np.array(rows["label"]), patient_numbers(values_of(rows, "patient_id"))
    scored = []
    for seed, run in sorted(by_seed.items()):
        predictor = Predictor(run)
        scores = score_slices(predictor, rows, Path(run).name)
        scored.append(
            {
                "run": Path(run).name,
                "seed": seed,
                "gate": predictor.has_gate,
                "refused": scores.count("refused"),
                "auc": interval(auc, labels, scores.covid, patients=patients),
                "validation_auc": read_metrics(run)["validation"]["auc"],
            }
        )
    return scored


def spread(scores: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Runs with the `mean`, `lowest` and `highest` of their AUC and validation AUC; None for no runs."""
    if not scores:
        return None
    summary: dict[str, Any] = {"folders": scores}
    for name, values in (
        ("auc", [score["auc"][0] for score in scores]),
        ("validation_auc", [score["validation_auc"] for score in scores]),
    ):
        summary[name] = {"mean": float(np.mean(values)), "lowest": min(values), "highest": max(values)}
    return summary


def check_pairs(with_lesions: dict[int, str], without: dict[int, str]) -> None:
    """Check that runs without lesions have learned none, and that one has the seed of a run with them.

    Raises:
        ValueError: One has learned lesions, or there are such runs and none has such a seed.
    """
    for run in without.values():
        if learned := read_metrics(run).get("lesion_slices", 0):
            raise ValueError(
                f"{run}: expected a run without lesions, found one that learned those of {learned} slices; "
                "train it with `--lesion_task False`."
            )
    if without and not with_lesions.keys() & without.keys():
        raise ValueError(
            f"Expected runs with and without lesions of the same seeds, found {sorted(with_lesions)} and "
            f"{sorted(without)}; train those that are missing."
        )


def ablation(with_lesions: list[dict[str, Any]], without: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What the lesion task gains: the AUC of runs with it and without, paired by their seeds.

    Returns:
        `pairs` (`seed`, `with_lesions`, `without_lesions`) and the mean `gain` as `[value, low, high]`, a 95%
        t interval over the pairs, without bounds for a single pair; None for no runs without lesions.
    """
    if not without:
        return None
    with_auc, without_auc = (
        {score["seed"]: score["auc"][0] for score in runs} for runs in (with_lesions, without)
    )
    seeds = sorted(with_auc.keys() & without_auc.keys())
    pairs = np.array([(with_auc[seed], without_auc[seed]) for seed in seeds])
    bounds = [np.nan, np.nan]
    if len(seeds) > 1:
        bounds = [float(bound) for bound in ttest_rel(*pairs.T).confidence_interval()]
    return {
        "pairs": [
            {"seed": seed, "with_lesions": float(with_), "without_lesions": float(without_)}
            for seed, (with_, without_) in zip(seeds, pairs, strict=True)
        ],
        "gain": [float((pairs[:, 0] - pairs[:, 1]).mean()), *bounds],
    }


def score_left_out(run: str, path: str, slices: DatasetDict) -> dict[str, Any]:
    """Score a run on a data set that it never saw: its split `test`, or all it has where there is none.

    Returns:
        `run`, the command that `trained` it, `dataset`, `splits`, `slices`, `refused`, `indeterminate`, and
        `auc` with interval.
    """
    scored, splits = score_external(path, slices, Predictor(run))
    return {
        "run": Path(run).name,
        "trained": read_metrics(run)["command"],
        "dataset": Path(path).name,
        "splits": splits,
        "slices": len(scored.labels),
        "refused": scored.scores.count("refused"),
        "indeterminate": scored.scores.count("indeterminate"),
        "auc": interval(auc, scored.labels, scored.scores.covid, patients=scored.patients),
    }


def score_lesion_folds(folds: Sequence[tuple[str, DatasetDict]]) -> dict[str, dict[str, Any]] | None:
    """AUC of each lesion over the folds of a data set, each scored by a run that never saw its patients.

    A slice counts by its rank in its fold: the scores of one run cannot be compared with another's.

    Args:
        folds: Runs, each with a data set whose split `test` is the fold.

    Returns:
        As `metrics.lesion_scores`; None for no folds.
    """
    labels, ranks, patients = [], [], []
    for run, slices in folds:
        rows = slices["test"]
        scores = score_slices(Predictor(run, gate=False), rows, Path(run).name).lesions
        patients += values_of(rows, "patient_id")
        labels.append(to_lesion_labels(values_of(rows, "lesions")))
        labelled = np.where(np.isnan(labels[-1]), np.nan, scores)
        count = np.maximum(1, (~np.isnan(labels[-1])).sum(axis=0))
        ranks.append(rankdata(labelled, axis=0, nan_policy="omit") / count)
    if not folds:
        return None
    return lesion_scores(np.concatenate(labels), np.concatenate(ranks), patient_numbers(patients))

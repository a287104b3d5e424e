"""What is wrong with a data set: duplicates, leaks, contradictions, shortcuts, and what is too rare.

The checks measure; nothing in them is a list of COVID-CT's faults. A finding is a leak where it lets a model
be tested on what it was trained on: one image, one scan, one patient or one paper in two splits.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from tqdm import tqdm

from . import __version__
from .labels import CLASSES, LESIONS
from .near_duplicates import SAME_IMAGE, FeatureStore
from .shortcuts import file_only_scores
from .slice_dataset import NO_LESIONS, file_names, stream_rows
from .slice_facts import slice_facts

RARE = 10
"""Fewer slices than this, present or absent, do not measure a class or lesion: an AUC's 95% interval is
then some 0.3 wide."""

TITLES = {
    "same_image": "The same image twice",
    "same_scan": "Slices of one scan in two splits, or with two labels",
    "shared_patient": "One patient in two splits",
    "shared_source": "One paper in two splits",
    "caption_contradicts_label": "The caption contradicts the label",
    "caption_in_doubt": "The caption speaks of COVID-19 and of something else",
    "file_predicts_label": "The file alone predicts the label",
    "too_rare": "Too rare to be measured",
    "unreadable": "The image cannot be read",
    "tiny": "The image is too small",
    "blank": "The image is blank",
    "not_ct": "The image is no CT slice",
}
"""The kinds of findings, in the order in which they are reported, and what each means."""

_AGAINST = {
    "control": "a control",
    "other_disease": "another disease",
    "before_december_2019": "a scan before December 2019",
    "covid": "COVID-19",
}


def audit(slices: DatasetDict, name: str, folder: Path | None = None) -> dict[str, Any]:
    """Find what is wrong with a slice data set.

    Args:
        slices: Any data set with `image` and `label`; the other columns of `FEATURES` are used where they
            are.
        name: What to call it.
        folder: Where temporary files are made, some 50 kB a slice.

    Returns:
        `version`, `dataset`, `leak`, `splits` (see `split_facts`), `file_only` (see `file_only_scores`)
        and `findings`, each with `kind` (of `TITLES`), `leak`, `summary`, `evidence` and `rows`; a row
        has `split`, `file_name`, `row` (its number in the split), `label`, and `caption` where that is
        the finding.
    """
    with FeatureStore(folder) as store:
        facts = _read(slices, store)
        pairs = [(pair.first, pair.second, pair.similarity) for pair in store.pairs()]
    file_only = file_only_scores(facts[facts["fault"].isna()])
    findings = [
        *_same_images(facts, pairs),
        *_shared(facts, "patient_id", "shared_patient", "patient"),
        *_shared(facts, "source", "shared_source", "paper"),
        *_contradictions(facts),
        *_file_predicts_label(facts, file_only),
        *_too_rare(facts),
        *_faults(facts),
    ]
    order = list(TITLES)
    worst = ("two_labels", "across_splits")
    findings.sort(
        key=lambda finding: (
            order.index(finding["kind"]),
            *(not finding["evidence"].get(name) for name in worst),
        )
    )
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
    columns = {name: rows[name] for name in rows.column_names if name != "image"}
    lesions = _lesions(columns.get("lesions"), len(rows))
    facts = {
        "slices": len(rows),
        "classes": {name: columns["label"].count(index) for index, name in enumerate(CLASSES)},
        "patients": _different(columns.get("patient_id")),
        "sources": _different(columns.get("source")),
        "lesions": {
            lesion: {
                "present": int(np.nansum(lesions[:, at])),
                "labelled": int((~np.isnan(lesions[:, at])).sum()),
            }
            for at, lesion in enumerate(LESIONS)
        },
    }
    for name in ("width", "height"):
        if name in columns and len(rows):
            facts[name] = [int(value) for value in np.percentile(columns[name], [0, 50, 100])]
    for name in ("format", "mode"):
        if name in columns:
            facts[f"{name}s"] = dict(Counter(map(str, columns[name])).most_common())
    return facts


def facts(report: dict[str, Any]) -> dict[str, Any]:
    """An audit without any row, file name or caption: what may be shown where the data may not.

    Its `findings` are counts, one for each `title`: `kind`, `leak`, how many `findings`, how many `slices`.
    """
    groups: dict[tuple, dict] = {}
    for finding in report["findings"]:
        title = _title(finding)
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
    later = {"train": 0, "validation": 1, "test": 2}
    reasons: dict[tuple[str, int], str] = {}
    for finding in report["findings"]:
        rows, evidence = finding["rows"], finding["evidence"]
        if finding["kind"] == "same_image":
            splits = sorted({row["split"] for row in rows}, key=lambda split: later.get(split, 3))
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
                known = {key: row.get(key) for key in ("label", "patient_id", "source", "caption", "lesions")}
                found, grey = slice_facts(row["image"]["bytes"], name)
                store.add(grey if grey is not None else np.zeros((64, 64), np.uint8))
                records.append({"split": split, "row": number, "file_name": name} | known | _BARE | found)
                bar.update()
    return pd.DataFrame(records, columns=None if records else ["split", "row", "file_name", "label", *_BARE])


_BARE = {
    "suffix": None, "format": None, "mode": None, "width": np.nan, "height": np.nan, "aspect": np.nan,
    "quality": np.nan, "border": np.nan, "border_grey": np.nan, "bytes": np.nan, "pixels": None,
    "fault": None, "reason": None,
}  # fmt: skip
"""Facts of a slice of which nothing could be found."""


def _same_images(facts: pd.DataFrame, pairs: list[tuple[int, int, float]]) -> Iterator[dict]:
    readable = facts[facts["fault"].isna()]
    copies = [group.index.tolist() for _, group in readable.groupby("pixels") if len(group) > 1]
    identical = {pair for group in copies for pair in itertools.combinations(group, 2)}
    for group in copies:
        yield _same_image(facts.loc[group], 1.0, exact=True)
    for first, second, similarity in sorted(pairs, key=lambda pair: -pair[2]):
        if (first, second) in identical or not {first, second} <= set(readable.index):
            continue
        rows = facts.loc[[first, second]]
        if similarity >= SAME_IMAGE:
            yield _same_image(rows, similarity, exact=False)
        elif rows["split"].nunique() > 1 or rows["label"].nunique() > 1:
            where, across, two_labels = _spread(rows)
            yield _finding(
                "same_scan",
                rows,
                f"Slices that look like neighbours in one scan, or one slice under two windows, {where}.",
                {"similarity": round(similarity, 3), "across_splits": across, "two_labels": two_labels},
                leak=across,
            )


def _same_image(rows: pd.DataFrame, similarity: float, exact: bool) -> dict:
    where, across, two_labels = _spread(rows)
    how = "pixel for pixel" if exact else f"similarity {similarity:.2f}"
    return _finding(
        "same_image",
        rows,
        f"The same image {'twice' if len(rows) == 2 else f'{len(rows)} times'} ({how}) {where}.",
        {
            "similarity": round(similarity, 3),
            "exact": exact,
            "across_splits": across,
            "two_labels": two_labels,
        },
        leak=across,
    )


def _spread(rows: pd.DataFrame) -> tuple[str, bool, bool]:
    splits = list(dict.fromkeys(rows["split"]))
    across, two_labels = len(splits) > 1, rows["label"].nunique() > 1
    labels = ", labelled COVID and NonCOVID" if two_labels else ""
    return f"in {' and '.join(splits)}{labels}", across, two_labels


def _shared(facts: pd.DataFrame, column: str, kind: str, what: str) -> Iterator[dict]:
    known = facts.dropna(subset=[column]) if column in facts else facts[:0]
    for value, rows in known.groupby(column, sort=False):
        counts = rows["split"].value_counts(sort=False)
        if len(counts) > 1:
            where = ", ".join(f"{count} in {split}" for split, count in counts.items())
            yield _finding(
                kind,
                rows,
                f"The {what} {value} has slices in {len(counts)} splits: {where}.",
                {column: value},
                leak=True,
            )


def _contradictions(facts: pd.DataFrame) -> Iterator[dict]:
    if "caption" not in facts:
        return
    captioned = facts[facts["caption"].notna()]
    if captioned.empty:
        return
    from .contradictions import contradictions  # spaCy and what it loads take 500 MB

    # panels of one figure may lie in several splits; a name may occur in two
    keys = {f"{row.file_name}\n{index}": index for index, row in captioned.iterrows()}
    found = contradictions(
        {key: facts.at[index, "caption"] for key, index in keys.items()},
        {key: CLASSES[facts.at[index, "label"]] == "COVID" for key, index in keys.items()},
    )
    for key, said in found.items():
        rows = facts.loc[[keys[key]]]
        kind = "caption_contradicts_label" if said.certain else "caption_in_doubt"
        label = CLASSES[rows["label"].iloc[0]]
        yield _finding(
            kind,
            rows,
            f"Labelled {label}, but the caption speaks of {_AGAINST[said.name]} ({said.phrase!r})"
            + ("." if said.certain else ", and of COVID-19 in the same sentence."),
            {"speaks_of": said.name, "phrase": said.phrase},
            caption=True,
        )


def _file_predicts_label(facts: pd.DataFrame, scores: dict | None) -> Iterator[dict]:
    if scores is None:
        return
    value, low, _ = scores["traces"]["auc"]
    if low > 0.5:
        yield _finding(
            "file_predicts_label",
            facts[:0],
            f"A random forest on {', '.join(scores['features'])} alone, fitted on {scores['fitted_on']}, "
            f"reaches AUC {scores['auc'][0]:.3f} on {scores['scored_on']}; with shape, compression and "
            f"margins {value:.3f}.",
            scores,
        )


def _too_rare(facts: pd.DataFrame) -> Iterator[dict]:
    for split, rows in facts.groupby("split", sort=False):
        lesions = _lesions(rows.get("lesions"), len(rows))
        counted = [("class", name, rows["label"] == index, len(rows)) for index, name in enumerate(CLASSES)]
        if labelled := int((~np.isnan(lesions[:, 0])).sum()):
            counted += [("lesion", name, lesions[:, at] == 1, labelled) for at, name in enumerate(LESIONS)]
        for what, name, present, total in counted:
            count = int(np.sum(present))
            if min(count, total - count) < RARE:
                yield _finding(
                    "too_rare",
                    rows[np.asarray(present)],
                    f"The {what} {name} is in {count} of {total} slices of {split}: too few with it or "
                    f"without it (under {RARE}) to measure.",
                    {"split": split, what: name, "present": count, "labelled": total},
                )


def _faults(facts: pd.DataFrame) -> Iterator[dict]:
    for index, row in facts[facts["fault"].notna()].iterrows():
        yield _finding(row["fault"], facts.loc[[index]], f"{TITLES[row['fault']]}: {row['reason']}", {})


def _finding(
    kind: str, rows: pd.DataFrame, summary: str, evidence: dict, *, leak: bool = False, caption: bool = False
) -> dict[str, Any]:
    columns = ["split", "file_name", "row", "label", *(["caption"] if caption else [])]
    listed = [
        {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
        for row in rows[columns].to_dict("records")
    ]
    for row in listed:
        row["label"] = CLASSES[row["label"]]
    return {"kind": kind, "leak": leak, "summary": summary, "evidence": evidence, "rows": listed}


def _title(finding: dict) -> str:
    if finding["kind"] != "same_image":
        return TITLES[finding["kind"]]
    evidence = finding["evidence"]
    where = "in two splits" if evidence["across_splits"] else "in one split"
    return f"{TITLES['same_image']} {where}" + (", with two labels" if evidence["two_labels"] else "")


def _lesions(values: Any, count: int) -> np.ndarray:
    given = [None] * count if values is None else values
    return np.array([NO_LESIONS if row is None else row for row in given], float).reshape(count, len(LESIONS))


def _different(values: list | None) -> int:
    return len({value for value in values or () if value is not None})

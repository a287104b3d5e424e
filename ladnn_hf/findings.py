"""The checks of an audit: from the facts of all slices to what is wrong with them.

Each takes a table with one row a slice, the columns of `audit.audit`'s pass over the images, and yields
findings: `kind` (of `TITLES`), `leak`, `summary`, `evidence` and the `rows` that it touches.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from .labels import CLASSES, LESIONS
from .near_duplicates import SAME_IMAGE, SimilarPair
from .slice_dataset import to_lesion_labels

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


def all_findings(facts: pd.DataFrame, pairs: list[SimilarPair], file_only: dict | None) -> list[dict]:
    """What every check finds, by kind, the worst of a kind first.

    Args:
        facts: One row a slice.
        pairs: Slices that look alike, by their numbers in `facts`.
        file_only: What `file_only_scores` gives.
    """
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
    return sorted(
        findings,
        key=lambda finding: (
            order.index(finding["kind"]),
            *(not finding["evidence"].get(name) for name in worst),
        ),
    )


def title_of(finding: dict) -> str:
    """What a finding means; of the same image twice also where, and whether with two labels."""
    if finding["kind"] != "same_image":
        return TITLES[finding["kind"]]
    evidence = finding["evidence"]
    where = "in two splits" if evidence["across_splits"] else "in one split"
    return f"{TITLES['same_image']} {where}" + (", with two labels" if evidence["two_labels"] else "")


def _same_images(facts: pd.DataFrame, pairs: list[SimilarPair]) -> Iterator[dict]:
    readable = facts[facts["fault"].isna()]
    numbers = set(readable.index)
    copies = [group.index.tolist() for _, group in readable.groupby("pixels") if len(group) > 1]
    identical = {pair for group in copies for pair in itertools.combinations(group, 2)}
    for group in copies:
        yield _same_image(facts.loc[group], 1.0, exact=True)
    for first, second, similarity in sorted(pairs, key=lambda pair: -pair.similarity):
        if (first, second) in identical or not {first, second} <= numbers:
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
    for value, rows in facts.groupby(column, sort=False):
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
        lesions = to_lesion_labels(rows["lesions"])
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

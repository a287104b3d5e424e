"""The tab with a data set's facts, from its audit: counts, lesions, findings; no image, name or caption."""

import html
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from html_parts import facts_table
from texts import term_in, text

from ladnn_hf import LESION_NAMES

FACTS = Path(__file__).parent / "data_facts.json"
"""What `benchmarks/data_facts.py` wrote of COVID-CT's audit."""


def read_facts() -> dict[str, Any]:
    """The facts of the audit that LADNN_AUDIT names, or else of COVID-CT.

    Raises:
        ValueError: There is no such audit, or nothing that reads it.
    """
    path = os.environ.get("LADNN_AUDIT")
    if not path:
        return json.loads(FACTS.read_text(encoding="utf-8"))
    try:
        from ladnn_hf.audit import facts  # needs the extra `data`, the page does not

        report = facts(json.loads(Path(path).read_text(encoding="utf-8")))
    except ModuleNotFoundError as error:
        raise ValueError(
            f"expected the package {error.name} to read LADNN_AUDIT, found it not installed; run pip install "
            "'.[data]' in the folder of this project, or leave out LADNN_AUDIT."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            "expected LADNN_AUDIT to name an audit.json, found none; make one with ladnn data audit DATASET "
            "--output audit, or leave it out."
        ) from error
    return report


def data_html(facts: Mapping[str, Any], language: str) -> str:
    """The facts as a visitor reads them.

    Args:
        facts: What `read_facts` found.
        language: Of the texts.
    """
    splits = facts["splits"]
    names = [term_in(name, language) for name in splits]
    classes = [text(f"label_{name}", language) for name in next(iter(splits.values()))["classes"]]
    counts = [
        [name, split["slices"], *split["classes"].values(), split["patients"], split["sources"]]
        for name, split in zip(names, splits.values(), strict=True)
    ]
    lesions = [
        [text(f"lesion_{name}", language)]
        + ["{present} / {labelled}".format(**split["lesions"][name]) for split in splits.values()]
        for name in LESION_NAMES
    ]
    findings = [
        [
            term_in(found["title"], language),
            found["findings"],
            found["slices"] or "–",
            text("yes" if found["leak"] else "no", language),
        ]
        for found in facts["findings"]
    ]

    def column(name: str) -> str:
        return text(f"column_{name}", language)

    return (
        f"<h2>{html.escape(term_in(facts['dataset'], language))}</h2><p>{text('data_intro', language)}</p>"
        f"<p><strong>{text('data_leak' if facts['leak'] else 'data_no_leak', language)}</strong></p>"
        '<div class="tables"><div>'
        + facts_table(
            [column("split"), column("slices"), *classes, column("patients"), column("papers")],
            counts,
            text("data_slices", language),
        )
        + facts_table([column("lesion"), *names], lesions, text("data_lesions", language))
        + "</div><div>"
        + facts_table(
            [column("finding"), column("times"), column("slices"), column("leak")],
            findings,
            text("data_findings", language),
        )
        + f"{_file_only(facts['file_only'], language)}</div></div>"
    )


def _file_only(scores: Mapping[str, Any] | None, language: str) -> str:
    if scores is None:
        return ""
    value, low, high = scores["auc"]
    said = text(
        "data_file_only",
        language,
        features=text("comma", language).join(term_in(name, language) for name in scores["features"]),
        split=term_in(scores["scored_on"], language),
        auc=f"{value:.3f} ({low:.3f}–{high:.3f})",
    )
    return f"<p>{html.escape(said)}</p>"

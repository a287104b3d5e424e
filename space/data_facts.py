"""The tab with a data set's facts, from its audit: counts, lesions, findings; no image, name or caption."""

import html
import json
import os
from pathlib import Path
from typing import Any

from html_parts import facts_table

from ladnn_hf import LESION_NAMES

FACTS = Path(__file__).parent / "data_facts.json"
"""What `benchmarks/data_facts.py` wrote of COVID-CT's audit."""


def data_facts() -> str:
    """The facts as HTML, of the audit that LADNN_AUDIT names or else of COVID-CT."""
    path = os.environ.get("LADNN_AUDIT")
    try:
        report = json.loads(Path(path or FACTS).read_text(encoding="utf-8"))
        if path:
            from ladnn_hf.audit import facts  # needs the extra `data`, the page does not

            report = facts(report)
        return _to_html(report)
    except ModuleNotFoundError as error:
        return (
            f"<p>Expected the package {html.escape(str(error.name))}, found it not installed; run <code>pip "
            "install 'ladnn_hf[data]'</code> to show an audit of your own.</p>"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return (
            "<p>Expected the facts of an audited data set, found none; make them with "
            "<code>ladnn data audit DATASET --output audit</code> and set LADNN_AUDIT to its "
            "<code>audit.json</code>.</p>"
        )


def _to_html(report: dict[str, Any]) -> str:
    splits = report["splits"]
    classes = list(next(iter(splits.values()))["classes"])
    counts = [
        [name, facts["slices"], *facts["classes"].values(), facts["patients"], facts["sources"]]
        for name, facts in splits.items()
    ]
    lesions = [
        [
            LESION_NAMES[name],
            *(
                f"{facts['lesions'][name]['present']} of {facts['lesions'][name]['labelled']}"
                for facts in splits.values()
            ),
        ]
        for name in LESION_NAMES
    ]
    findings = [
        [found["title"], found["findings"], found["slices"] or "–", "yes" if found["leak"] else "no"]
        for found in report["findings"]
    ]
    leaks = (
        "<p><strong>Its splits leak</strong>: a model tested on it is tested in part on what it was trained "
        "on.</p>"
        if report["leak"]
        else "<p>No leak between its splits was found.</p>"
    )
    return (
        f"<h2>{html.escape(report['dataset'])}</h2><p>What this data set of chest CT slices holds, and the "
        f"faults that <code>ladnn data audit</code> found in it.</p>{leaks}"
        + facts_table(["split", "slices", *classes, "patients", "papers"], counts, "Slices")
        + facts_table(["lesion", *splits], lesions, "Lesions: present, of labelled")
        + facts_table(["finding", "times", "slices", "leak"], findings, "What the audit found")
        + _file_only(report["file_only"])
    )


def _file_only(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return ""
    value, low, high = scores["auc"]
    return (
        f"<p>From the file alone ({html.escape(', '.join(scores['features']))}), no pixel read, a random "
        f"forest tells the classes of the {html.escape(scores['scored_on'])} split apart with AUC "
        f"{value:.3f} ({low:.3f}–{high:.3f}); 0.5 would be chance. A model that scores about as "
        "much may have read the files and not the lungs.</p>"
    )

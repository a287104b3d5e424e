"""Terms in a report's free text, and which of them the report denies.

spaCy's entity ruler finds the terms, negspacy tells which are negated: an implementation of NegEx (Chapman
et al. 2001, doi 10.1006/jbin.2001.1029). Both run on a blank English pipeline, without a trained model to
download. medspacy's ConText would tell history and hypotheses too, but does not install on current Pythons.
"""

import re
from collections.abc import Mapping, Sequence

import spacy
from negspacy.negation import Negex
from negspacy.termsets import termset
from spacy.tokens import Doc, Span

_GONE = ["absent", "resolved", "vanished"]
"""Words that negate the finding right after them, and no other: "resolved consolidation"."""
_WINDOW = 5
"""Words between a cue and the finding that it negates, at most (NegEx)."""

CUES = {
    "preceding_negations": ["lack of", "free from", "neither", "nor", "rather than", "instead of",
                            "resolution of", "disappearance of"],
    "following_negations": ["resolved", "absent", "disappeared", "vanished", "completely absorbed",
                            "is not", "are not", "not seen", "not observed", "not found", "not present"],
    # what is said of history ("no fever") or in brackets says nothing of the picture
    "termination": [";", "(", ")", "there was", "there were", "there is", "there are", "accompanied",
                    "presented", "presenting", "manifested", "CT", "scan", "scans", "image", "images",
                    "show", "shows", "showed", "showing", "reveal", "reveals", "revealed", "revealing",
                    "demonstrate", "demonstrates", "demonstrated", "demonstrating"],
}  # fmt: skip
"""What is said of findings in reports, beside NegEx's clinical terms: gone is not there."""


_STEMS = re.compile(r"(ground|glass|consolidations?|crazy|paving|bronchograms?)", re.IGNORECASE)


def tidy(report: str) -> str:
    """A report on one line, with its words apart: captions taken from PDFs lose spaces.

    "consolidation(c" and "multifocalground-glasschanges" are such; punctuation but hyphens, points and
    apostrophes is set apart.
    """
    return " ".join(re.sub(r"([^\w\s.'-])", r" \1 ", _STEMS.sub(r" \1 ", report)).split())


class TermReader:
    """Reads text for terms.

    Args:
        terms: spaCy's token patterns by the name of what they stand for. Hyphens in the text are spaces
            to them.
        cues: More of NegEx's cues, beside those of every report, for findings that are not the picture's.
    """

    def __init__(
        self, terms: Mapping[str, Sequence[list[dict]]], cues: Mapping[str, list[str]] | None = None
    ) -> None:
        self._pipeline = spacy.blank("en")
        self._pipeline.add_pipe("sentencizer")
        self._pipeline.add_pipe("entity_ruler").add_patterns(
            [
                {"label": name, "pattern": [{"LOWER": {"IN": _GONE}, "OP": "?"}, *pattern]}
                for name, patterns in terms.items()
                for pattern in patterns
            ]
        )
        phrases = termset("en_clinical")
        phrases.add_patterns(CUES)
        phrases.add_patterns(cues or {})
        self._negex = _WindowedNegex(self._pipeline, "negex", phrases.get_patterns(), chunk_prefix=_GONE)

    def __call__(self, text: str) -> Doc:
        """The text as spaCy's document: its `ents` are the terms, `ent._.negex` says which are denied."""
        # typesetters leave hyphens of every kind: "ground-glass", "ground- glass"
        return self._negex(self._pipeline(" ".join(re.split(r"[\s\u2010-\u2015\u2212-]+", text))))


class _WindowedNegex(Negex):
    """NegEx with the window that its paper gives a cue and negspacy leaves out: at most five words.

    A list counts as one finding: "no ground glass, consolidation or crazy paving" negates all three.
    """

    def __call__(self, doc: Doc) -> Doc:
        preceding, following, _ = self.process_negations(super().__call__(doc))
        lists = _lists(doc.ents)
        bounds = [0, *(span.end for span in lists)], [*(span.start for span in lists[1:]), len(doc)]
        for findings, after, before in zip(lists, *bounds, strict=False):
            first, last = max(after, findings.start - _WINDOW), min(before, findings.end + _WINDOW)
            for finding in findings.ents:
                near = any(first <= end <= finding.start for _, _, end in preceding) or any(
                    finding.end <= start <= last for _, start, _ in following
                )
                finding._.negex &= near or finding.text.lower().startswith(tuple(_GONE))
        return doc


def _lists(findings: Sequence[Span]) -> list[Span]:
    """Findings that follow one another, with no more than ", or" between them, as one span each."""
    lists: list[Span] = []
    for finding in findings:
        if lists and finding.start - lists[-1].end <= 2 and finding.sent == lists[-1].sent:
            lists[-1] = finding.doc[lists[-1].start : finding.end]
        else:
            lists.append(finding)
    return lists

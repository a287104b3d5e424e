"""Radiology report text → lesion labels.

The five labels of LA-DNN (Liu et al., medRxiv 10.1101/2020.05.11.20097907) were read off figure captions.
Here the same is done by rules: the field's terms (Fleischner Society glossary, doi 10.1148/radiol.2462070712,
and the variants met in captions) are found by spaCy's entity ruler, and negspacy, an implementation of
NegEx (Chapman et al. 2001, doi 10.1006/jbin.2001.1029), tells which are negated. Both run on a blank
English pipeline, without a trained model to download. medspacy's ConText would tell history and
hypotheses too, but does not install on current Pythons; captions hardly have either.

The terms, cues and panel rules were written on the captions of COVID-CT's training split. Three repairs
came after the first scores on the other splits: brackets end a negation, words that lost their spaces are
parted, and "patchy shadow", which is no term of the glossary, no longer counts as ground glass.
`ladnn data labels` prints how the rules do on each split.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import spacy
from negspacy.negation import Negex
from negspacy.termsets import termset
from spacy.tokens import Doc, Span

from .labels import LESIONS

_SEPTUM = {"TEXT": {"REGEX": r"(?i)^sept(al|um|a)$"}}
_LOBULAR = {"TEXT": {"REGEX": r"(?i)^(inter|intra)?lobular$"}}
_THICK = {"TEXT": {"REGEX": r"(?i)^thicken(ing|ed|ings)$"}}
_FILLER = {"IS_PUNCT": False, "OP": "{0,3}"}
_GONE = ["absent", "resolved", "vanished"]
"""Words that negate the lesion right after them, and no other: "resolved consolidation"."""
_WINDOW = 5
"""Words between a cue and the finding that it negates, at most (NegEx)."""

TERMS = {
    "GGO": [
        # "ground grass" is a frequent slip; "GGN" are ground-glass nodules
        [{"LOWER": "ground"}, {"LOWER": {"IN": ["glass", "grass"]}}],
        [{"LOWER": {"IN": ["groundglass", "ggo", "ggos", "ggn", "ggns"]}}],
    ],
    "Csld": [[{"TEXT": {"REGEX": r"(?i)^consolidat(ion|ions|ive|ed|ing)$"}}]],
    "CrPa": [[{"LOWER": "crazy"}, {"LOWER": {"IN": ["paving", "paved", "pavement"]}}]],
    "AirBr": [[{"LOWER": "air"}, {"TEXT": {"REGEX": r"(?i)^bronch(i?ogram|i?ograms|us|i)$"}}]],
    "InSepThi": [
        [_SEPTUM, _FILLER, _THICK],
        [_THICK, _FILLER, _SEPTUM],
        [_LOBULAR, _THICK],
    ],
}
"""Token patterns (spaCy's) that name each lesion."""

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
_MARK = r"[a-z](?:\s?(?:-|–|,|and|&|to)\s?(?:and\s)?[a-z])*"
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_PANELS = re.compile(
    rf"\(\s*({_MARK})\s*\)|(?<=[.;] )({_MARK})(?= show)"
    rf"|\b({'|'.join(_ORDINALS)})(?= (?:image|panel|patient|case)\b)",
    re.IGNORECASE,
)
_CLEAR = re.compile(
    r"\b(normal|no (obvious|abnormal|evident|significant)|absorbed|resolved|resolution)", re.I
)


def read_lesions(report: str, panel: int = 0, panels: int = 1) -> tuple[float, ...]:
    """The lesions that a report names and does not negate.

    A figure's caption often speaks of several panels. Where as many images as it names panels share
    it, each is read from the words on its own panel, unless those say nothing of lesions.

    Args:
        report: Free English text: a figure's caption or the findings of a radiology report.
        panel: The image's place, from 0, among the images that share this report.
        panels: How many images share it.

    Returns:
        1.0 for a lesion that is there and 0.0 for one that is not, in the order of `LESIONS`.
    """
    # taken from PDFs, captions lose spaces: "consolidation(c", "multifocalground-glasschanges"
    text = re.sub(r"([^\w\s.'])", r" \1 ", _STEMS.sub(r" \1 ", report))
    text = " ".join(text.split())
    document = _reader()(_own_part(text, panel, panels))
    found = {entity.label_ for entity in document.ents if not entity._.negex}
    return tuple(float(lesion in found) for lesion in LESIONS)


def read_figures(reports: Mapping[str, str | None]) -> dict[str, tuple[float, ...]]:
    """The lesions of many images by name, images that share a report taken for panels of one figure.

    Args:
        reports: The report of each image; images without one are left out.
    """
    figures = defaultdict(list)
    for name in sorted(reports, key=_natural):
        if reports[name]:
            figures[reports[name]].append(name)
    return {
        name: read_lesions(report, panel, len(names))
        for report, names in figures.items()
        for panel, name in enumerate(names)
    }


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


@cache
def _reader() -> Callable[[str], Doc]:
    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns(
        [
            {"label": lesion, "pattern": [{"LOWER": {"IN": _GONE}, "OP": "?"}, *pattern]}
            for lesion, patterns in TERMS.items()
            for pattern in patterns
        ]
    )
    cues = termset("en_clinical")
    cues.add_patterns(CUES)
    negex = _WindowedNegex(pipeline, "negex", cues.get_patterns(), chunk_prefix=_GONE)
    # typesetters leave hyphens of every kind: "ground-glass", "ground- glass"
    return lambda text: negex(pipeline(" ".join(re.split(r"[\s\u2010-\u2015\u2212-]+", text))))


def _own_part(text: str, panel: int, panels: int) -> str:
    """What a caption says of one panel; all of it where it does not tell as many panels apart."""
    marks = list(_PANELS.finditer(text))
    letters = [_named(next(filter(None, mark.groups()))) for mark in marks]
    named = sorted(set().union(*letters))
    if len(named) != panels or len(set(letters)) < 2:
        return text
    # "(A) Ground glass. (B) …" leads, "ground glass (a and b), consolidation (c and d)" follows
    leads = not marks[0][1] or text[: marks[0].start()].rstrip()[-1:] in {"", ".", ":", ";"}
    cuts = [mark.start() for mark in marks] + [len(text)] if leads else [0] + [mark.end() for mark in marks]
    own = " ".join(text[cuts[at] : cuts[at + 1]] for at, mark in enumerate(letters) if named[panel] in mark)
    # half a sentence may lean on the rest: "in the upper lobe (A) and the lower lobe (B)"
    return own if leads or _reader()(own).ents or _CLEAR.search(own) else text


def _named(mark: str) -> frozenset[int]:
    """The panels that a mark names, by number: "A-C" 0 to 2, "a and b" 0 and 1, "second" 1."""
    mark = mark.lower()
    if mark in _ORDINALS:
        return frozenset({_ORDINALS.index(mark)})
    letters = [ord(letter) - ord("a") for letter in re.findall(r"\b[a-z]\b", mark)]
    if re.search(r"[-–]|\bto\b", mark) and len(letters) == 2:
        return frozenset(range(letters[0], letters[1] + 1))
    return frozenset(letters)


def _natural(name: str) -> list[str | int]:
    """Sorts the panel "%10" after "%9"."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

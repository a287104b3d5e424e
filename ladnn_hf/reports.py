"""Radiology report text → lesion labels.

The five labels of LA-DNN (Liu et al., medRxiv 10.1101/2020.05.11.20097907) were read off figure captions.
Here the same is done by rules, on the field's terms (Fleischner Society glossary, doi
10.1148/radiol.2462070712, and the variants met in captions); `report_terms` says with which libraries.

The terms, cues and panel rules were written on the captions of COVID-CT's training split. Three repairs
came after the first scores on the other splits: brackets end a negation, words that lost their spaces are
parted, and "patchy shadow", which is no term of the glossary, no longer counts as ground glass.
`ladnn data labels` prints how the rules do on each split.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache

from .labels import LESIONS
from .report_terms import TermReader, tidy

_SEPTUM = {"TEXT": {"REGEX": r"(?i)^sept(al|um|a)$"}}
_LOBULAR = {"TEXT": {"REGEX": r"(?i)^(inter|intra)?lobular$"}}
_THICK = {"TEXT": {"REGEX": r"(?i)^thicken(ing|ed|ings)$"}}
_FILLER = {"IS_PUNCT": False, "OP": "{0,3}"}

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
    document = _reader()(panel_text(report, panel, panels)[1])
    found = {entity.label_ for entity in document.ents if not entity._.negex}
    return tuple(float(lesion in found) for lesion in LESIONS)


def read_figures(reports: Mapping[str, str | None]) -> dict[str, tuple[float, ...]]:
    """The lesions of many images by name, images that share a report taken for panels of one figure.

    Args:
        reports: The report of each image; images without one are left out.
    """
    return {name: read_lesions(reports[name], *place) for name, place in places_in_figures(reports).items()}


def places_in_figures(reports: Mapping[str, str | None]) -> dict[str, tuple[int, int]]:
    """Of each image that has a report: its place among those that share it, and how many they are."""
    figures = defaultdict(list)
    for name in sorted(reports, key=_natural):
        if reports[name]:
            figures[reports[name]].append(name)
    return {name: (panel, len(names)) for names in figures.values() for panel, name in enumerate(names)}


@cache
def _reader() -> TermReader:
    return TermReader(TERMS)


def panel_text(report: str, panel: int, panels: int) -> tuple[str, str]:
    """What a caption says of the whole figure, and of one panel.

    Args:
        report: The caption.
        panel: The image's place, from 0, among the images that share it.
        panels: How many images share it.

    Returns:
        The words before the first panel, and those on the panel; nothing and all of the caption where
        it does not tell as many panels apart.
    """
    text = tidy(report)
    marks = list(_PANELS.finditer(text))
    letters = [_named(next(filter(None, mark.groups()))) for mark in marks]
    named = sorted(set().union(*letters))
    if len(named) != panels or len(set(letters)) < 2:
        return "", text
    title = text[: marks[0].start()].rstrip()
    # "(A) Ground glass. (B) …" leads, "ground glass (a and b), consolidation (c and d)" follows
    leads = not marks[0][1] or title[-1:] in {"", ".", ":", ";"}
    cuts = [mark.start() for mark in marks] + [len(text)] if leads else [0] + [mark.end() for mark in marks]
    own = " ".join(text[cuts[at] : cuts[at + 1]] for at, mark in enumerate(letters) if named[panel] in mark)
    if leads:
        return title, own
    # half a sentence may lean on the rest: "in the upper lobe (A) and the lower lobe (B)"
    return "", own if _reader()(own).ents or _CLEAR.search(own) else text


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

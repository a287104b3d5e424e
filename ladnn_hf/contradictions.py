"""Captions that contradict the label of their image.

A figure's caption may say of an image that is labelled COVID that it shows a control, another disease, or a
scan from before December 2019, when the first patients fell ill; or say COVID-19 of one labelled NonCOVID.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from .report_terms import TermReader
from .reports import panel_text, places_in_figures


class Contradiction(NamedTuple):
    """What a caption says against a label.

    `certain` is False where the same sentence also speaks of COVID-19, so that either may be meant.
    """

    name: str
    phrase: str
    certain: bool


def _phrases(*phrases: str) -> list[list[dict]]:
    return [[{"LOWER": word} for word in phrase.split()] for phrase in phrases]


_NORMAL = {"LOWER": {"IN": ["normal", "healthy"]}}
_DISEASE = (
    r"(?i)^(influenza|h[157]n\d|tubercul\w+|tumou?r(s|ous)?|\w*carcinomas?|metasta\w+|mycoplasma\w*|"
    r"legionell\w+|adenovirus|pneumocystis|aspergill\w+|sarcoidosis|silicosis|lymphoma|mers)$"
)
_TERMS = {
    "covid": _phrases(
        "covid", "covid19", "covid 19", "coronavirus", "ncov", "2019 ncov", "sars cov 2", "ncp", "2019 cov"
    ),
    "control": [
        *_phrases("control", "controls", "non covid", "non covid 19", "non ncp", "negative case"),
        [_NORMAL, {"LOWER": {"IN": "lung lungs chest ct subject subjects volunteer person people".split()}}],
    ],
    "other_disease": [
        *_phrases(
            "bacterial pneumonia",
            "community acquired pneumonia",
            "common pneumonia",
            "fungal pneumonia",
            "aspiration pneumonia",
            "lipoid pneumonia",
            "other pathogens",
            "heart failure",
            "cardiac failure",
            "pulmonary edema",
            "pulmonary oedema",
            "pulmonary embolism",
            "interstitial lung disease",
            "lung cancer",
            "lung abscess",
            "lung metastases",
            "cystic fibrosis",
        ),
        [{"TEXT": {"REGEX": _DISEASE}}],
    ],
}
_HISTORY = {"preceding_negations": ["history of", "underlying", "comorbidity", "comorbidities", "excluding"]}

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATES = re.compile(
    rf"\b(?P<name>{'|'.join(_MONTHS)})[a-z]*\.?,?\s+(?:\d{{1,2}}(?:st|nd|rd|th)?\s*,?\s+)?(?P<named>\d{{4}})\b"
    r"|\b(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.]\d{1,2}\b"
    r"|\b(?:in|since|from|of|dated?|during)\s+(?:the\s+year\s+)?(?P<bare>(?:19|20)\d\d)(?=\s|[.,;)]|$)(?!\s*-?\s*(?:n?cov|novel))",
    re.IGNORECASE,
)


def contradictions(reports: Mapping[str, str | None], covid: Mapping[str, bool]) -> dict[str, Contradiction]:
    """The captions of a data set that contradict its labels.

    Args:
        reports: The caption of each image by name; images that share one are the panels of a figure.
        covid: Whether each is labelled COVID.

    Returns:
        The first contradiction of each image that has one, certain ones first.
    """
    found = {}
    for name, place in places_in_figures(reports).items():
        said = _against(" ".join(panel_text(reports[name], *place)), covid[name])
        if said:
            found[name] = min(said, key=lambda one: not one.certain)
    return found


def _against(text: str, covid: bool) -> list[Contradiction]:
    said = (
        [Contradiction("before_december_2019", phrase, True) for phrase in _early_dates(text)]
        if covid
        else []
    )
    for sentence in _reader()(text).sents:
        terms = {term.label_: term.text for term in reversed(sentence.ents) if not term._.negex}
        mentions_covid = "covid" in terms
        against = [name for name in ("control", "other_disease") if name in terms]
        if covid:
            said += [Contradiction(name, terms[name], not mentions_covid) for name in against]
        elif mentions_covid:
            said.append(Contradiction("covid", terms["covid"], not against))
    return said


def _early_dates(text: str) -> list[str]:
    early = []
    for date in _DATES.finditer(text):
        year = int(date["named"] or date["year"] or date["bare"])
        month = _MONTHS.index(date["name"][:3].lower()) + 1 if date["name"] else int(date["month"] or 0)
        # a bare 2019 may be December
        if 1950 <= year < 2019 or (year == 2019 and 0 < month < 12):
            early.append(date[0])
    return early


@cache
def _reader() -> TermReader:
    return TermReader(_TERMS, _HISTORY)

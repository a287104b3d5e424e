"""What a model says of the slices of a split, and of changed copies of them, as arrays."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from datasets import Dataset
from PIL import Image
from tqdm import tqdm

from .inference import Prediction
from .labels import LESIONS
from .reading import UnreadableSlice, read_slice

REFUSED_PROBABILITY = 0.5
"""What a true slice counts as when it was refused."""


class SlicePredictor(Protocol):
    """What answers slices: a `Predictor`."""

    threshold: float
    crop_to_lungs: bool
    """Whether it sees the box around the lungs alone, where it finds any."""

    def predict(self, images: Iterable[Image.Image | UnreadableSlice]) -> Iterable[Prediction]:
        """Answer slices in their order."""


@dataclass(frozen=True)
class SliceScores:
    """Answers for N slices; what was refused counts as `REFUSED_PROBABILITY`."""

    covid: np.ndarray
    """(N,), calibrated probability of COVID, in [0, 1]; NaN for a slice that was left out."""
    lesions: np.ndarray
    """(N, 5), probability of each lesion, in [0, 1]; NaN likewise."""
    decisions: np.ndarray
    """(N,) strings, those of `Prediction.decision`; empty for a slice that was left out."""

    @property
    def left_out(self) -> np.ndarray:
        """(N,), whether a slice was not asked about."""
        return self.decisions == ""

    def count(self, decision: str) -> int:
        """How many slices have this decision."""
        return int((self.decisions == decision).sum())

    @property
    def decided(self) -> np.ndarray:
        """(N,), whether the decision was positive or negative."""
        return np.isin(self.decisions, ("positive", "negative"))


def picture_of(rows: Dataset, number: int) -> Image.Image:
    """A row's picture.

    Raises:
        UnreadableSlice: The row has none.
    """
    try:
        picture = rows[number]["image"]
    except (OSError, SyntaxError, ValueError):  # Pillow's, of bytes that are no picture
        picture = None
    if picture is None:
        raise UnreadableSlice("expected an image in this row, found none; leave the row out.")
    return picture


def score_slices(predictor: SlicePredictor, rows: Dataset, name: str) -> SliceScores:
    """Answer every slice of a split; a bar of that name shows on standard error after two seconds."""
    answers = predictor.predict(_pictures(rows.select_columns("image")))
    return to_scores(tqdm(answers, total=len(rows), desc=name, unit="slice", delay=2, disable=None))


def _pictures(rows: Dataset) -> Iterator[Image.Image | UnreadableSlice]:
    for number in range(len(rows)):
        try:
            yield picture_of(rows, number)
        except UnreadableSlice as refusal:
            yield refusal


def score_changed(
    predictor: SlicePredictor,
    rows: Dataset,
    names: Sequence[str],
    change: Callable[[int, Image.Image], Sequence[Image.Image | None]],
) -> dict[str, SliceScores]:
    """Answer changed copies of every slice, each slice decoded once.

    Args:
        predictor: What answers.
        rows: A split.
        names: One for each change.
        change: From a row's number and its slice, mode `L`, to one changed copy for each name; None leaves
            the slice out.
    """
    answers = {name: [] for name in names}
    images = rows.select_columns("image")
    for number in tqdm(range(len(images)), desc="changed slices", unit="slice", delay=2, disable=None):
        try:
            copies = change(number, read_slice(picture_of(images, number)))
        except UnreadableSlice as refusal:
            copies = [refusal] * len(names)
        said = iter(predictor.predict(copy for copy in copies if copy is not None))
        for name, copy in zip(names, copies, strict=True):
            # Of a whole split: slices and maps would fill the memory.
            answers[name].append(None if copy is None else replace(next(said), slice=None, maps=None))
    return {name: to_scores(column) for name, column in answers.items()}


def to_scores(answers: Iterable[Prediction | None]) -> SliceScores:
    """Answers as arrays; None for a slice that was left out."""
    covid, lesions, decisions = [], [], []
    for answer in answers:
        if answer is None or answer.decision == "refused":
            value = np.nan if answer is None else REFUSED_PROBABILITY
            covid.append(value)
            lesions.append([value] * len(LESIONS))
        else:
            covid.append(answer.covid_probability)
            lesions.append([answer.lesions[name] for name in LESIONS])
        decisions.append("" if answer is None else answer.decision)
    return SliceScores(np.array(covid), np.array(lesions).reshape(-1, len(LESIONS)), np.array(decisions, str))

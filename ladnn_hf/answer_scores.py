"""The answers that `ladnn predict` wrote about rows of slices, beside the labels of these rows."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .inference import Prediction
from .labels import CLASSES, LESIONS
from .score_table import Scored
from .slice_dataset import patient_numbers, to_lesion_labels
from .slice_scores import to_scores
from .slice_tables import HUB, PARQUET, SliceTable, column, offsets, tables_of

_ANSWERED = ("positive", "negative", "indeterminate")


def read_answers(
    path: Path, dataset: str, split: str, model: str, threshold: float
) -> tuple[Scored, np.ndarray]:
    """Read answers, and the labels of what they are about; of the pictures nothing is read.

    Args:
        path: What `ladnn predict --format json` wrote.
        dataset: A saved data set, or a Parquet file or Parquet files on the Hub, as `tables_of` takes them.
        split: The split of a saved data set.
        model: What the model calls itself.
        threshold: Its operating point.

    Returns:
        The N slices without their rows, and (N, 5) lesion labels, NaN for none.

    Raises:
        ValueError: The answers are not of this model, or not one for each row, in order.
    """
    rows = dataset.startswith(HUB) or dataset.endswith(PARQUET)
    tables = tables_of(dataset if rows else f"{dataset}/{split}")
    if not tables:
        raise ValueError(
            f"{dataset}: expected a saved data set with the split {split}, found none; name one."
        )
    labels, lesions, patients = [], [], []
    for table in tables:
        found = column(table, "label")
        if found is None or not set(found) <= set(range(len(CLASSES))):
            raise ValueError(
                f"{table.name}: expected a column label with 0 {CLASSES[0]} and 1 {CLASSES[1]}, found none; "
                "add one."
            )
        labels += found
        lesions += column(table, "lesions") or [None] * len(found)
        patients += column(table, "patient_id") or [None] * len(found)
    scores = to_scores(_checked(path, tables, model, threshold))
    return Scored(None, np.array(labels), scores, patient_numbers(patients)), to_lesion_labels(lesions)


def _checked(path: Path, tables: list[SliceTable], model: str, threshold: float) -> Iterator[Prediction]:
    """Answers one by one, each sure to be the next row's."""
    rows = (f"{Path(table.name).name}#{row}" for table in tables for row in range(offsets(table)[-1]))
    if not path.is_file():
        raise ValueError(
            f"{path}: expected the answers of `ladnn predict --format json`, found no file; name theirs."
        )
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:  # as they were written
        for number, line in enumerate(lines, start=1):
            try:
                answer = Prediction(**json.loads(line))
                if not _is_whole(answer):
                    raise ValueError("a value is missing or of another type")
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected an answer, found none; write the answers with `ladnn "
                    "predict --format json`."
                ) from error
            if (answer.model, answer.threshold) != (model, threshold):
                raise ValueError(
                    f"{path}, line {number}: expected an answer of {model} at threshold {threshold}, found "
                    f"one of {answer.model} at {answer.threshold}; give `--model`, or predict again."
                )
            if (row := next(rows, "no more")) != answer.image.rpartition("/")[2]:
                raise ValueError(
                    f"{path}, line {number}: expected the answer to {row}, found one to {answer.image}; name "
                    "the data set that was answered, or predict again."
                )
            yield answer
    if (row := next(rows, None)) is not None:
        raise ValueError(f"{path}: expected an answer to {row} too, found none; predict again.")


def _is_whole(answer: Prediction) -> bool:
    """Whether it has the values, of their types, that `predict` writes."""
    if not isinstance(answer.image, str):
        return False
    if answer.decision == "refused":
        return True
    lesions = answer.lesions if isinstance(answer.lesions, dict) else {}
    numbers = [answer.covid_probability, *map(lesions.get, LESIONS)]
    return answer.decision in _ANSWERED and all(
        isinstance(number, (int, float)) and 0 <= number <= 1 for number in numbers
    )

"""Splits slices so that no patient is in two splits."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence


def split_patients(
    patients: Sequence[str], labels: Sequence[str], fractions: dict[str, float], seed: int
) -> list[str]:
    """Assign each slice to a split, all slices of a patient to the same.

    Patients are taken in random order, those with the most slices first, each to the split that lacks
    most of their classes: fractions and classes come out as evenly as patients allow.

    Args:
        patients: The patient of each slice.
        labels: The class of each slice.
        fractions: The part of all slices that each split is to get, between 0 and 1; they sum to 1.
        seed: Decides the random order; the same seed gives the same splits.

    Returns:
        The name of the split of each slice.
    """
    totals = Counter(labels)
    slices: dict[str, Counter] = defaultdict(Counter)
    for patient, label in zip(patients, labels, strict=True):
        slices[patient][label] += 1
    order = sorted(slices)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda patient: -slices[patient].total())

    lacking = {split: {label: part * totals[label] for label in totals} for split, part in fractions.items()}
    assigned = {}
    for patient in order:
        split = max(
            lacking,
            key=lambda split: sum(
                count * lacking[split][label] / totals[label] ** 2 for label, count in slices[patient].items()
            ),
        )
        assigned[patient] = split
        for label, count in slices[patient].items():
            lacking[split][label] -= count
    return [assigned[patient] for patient in patients]

"""Operating point and indeterminate band, chosen on validation answers."""

import numpy as np
import pytest

from ladnn_hf.calibration import choose_band, choose_threshold


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200)
    probabilities = 1 / (1 + np.exp(-(2.5 * (labels - 0.5) + generator.normal(size=200))))
    return probabilities, labels


def decided_and_right(probabilities, labels, low, high, threshold):
    decided = (probabilities < low) | (probabilities >= high)
    right = decided & ((probabilities >= threshold) == labels)
    return decided.mean(), right.sum() / max(decided.sum(), 1)


def test_the_band_decides_enough_and_is_right_more_often_than_no_band(answers):
    threshold = choose_threshold(*answers)
    low, high = choose_band(*answers, threshold)
    share, right = decided_and_right(*answers, low, high, threshold)
    _, right_without = decided_and_right(*answers, threshold, threshold, threshold)
    assert low <= threshold <= high and share >= 0.7 and right > right_without


def test_no_other_band_that_decides_enough_is_right_more_often(answers):
    threshold = choose_threshold(*answers)
    _, right = decided_and_right(*answers, *choose_band(*answers, threshold), threshold)
    for low in np.linspace(0, threshold, 40):
        for high in np.linspace(threshold, 1, 40):
            share, other = decided_and_right(*answers, low, high, threshold)
            assert share < 0.7 or other <= right + 1e-9


def test_more_may_be_left_undecided_when_fewer_decisions_are_asked_for(answers):
    threshold = choose_threshold(*answers)
    rights = [
        decided_and_right(*answers, *choose_band(*answers, threshold, decided), threshold)[1]
        for decided in (1.0, 0.9, 0.7, 0.5)
    ]
    assert rights == sorted(rights) and rights[0] < rights[-1]


def test_answers_that_are_all_right_leave_no_band():
    probabilities, labels = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9]), np.array([0, 0, 0, 1, 1, 1])
    threshold = choose_threshold(probabilities, labels, sensitivity=1.0)
    assert choose_band(probabilities, labels, threshold) == (threshold, threshold)


def test_slices_of_one_probability_are_in_the_band_together_or_not_at_all():
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, 40)
    for _ in range(20):
        probabilities = np.round(generator.random(40), 1).clip(0.1, 0.9)
        threshold = choose_threshold(probabilities, labels)
        low, high = choose_band(probabilities, labels, threshold)
        assert decided_and_right(probabilities, labels, low, high, threshold)[0] >= 0.7
        assert not np.isin([low, high], probabilities).any() or low == high == threshold

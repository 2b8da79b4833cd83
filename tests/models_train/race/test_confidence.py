"""Betting bounds: against a hand-worked capital, and their coverage where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from models_train.race.confidence import lower_bounds, share_of_look, upper_bounds


def test_the_bound_is_where_the_capital_reaches_its_goal() -> None:
    dice = np.random.default_rng(0)
    rows = dice.choice([-1.0, 0.0, 1.0], (5, 60), p=[0.1, 0.5, 0.4])
    bounds = lower_bounds(rows, 0.05)
    for row, bound in zip(rows, bounds, strict=True):
        assert one_by_one(row, bound - 1e-4, 0.05) >= 20
        assert one_by_one(row, bound + 1e-4, 0.05) < 20


def one_by_one(row: np.ndarray, mean: float, alpha: float) -> float:
    """The largest capital, in a plain loop over the items."""
    wealth = largest = 1.0
    for place in range(len(row)):
        if place == 0:
            variance = 1.0
        else:
            centres = [row[: one + 1].sum() / (one + 2) for one in range(place)]
            squares = sum((row[one] - centres[one]) ** 2 for one in range(place))
            variance = (1 + squares) / (place + 1)
        bet = min(math.sqrt(2 * math.log(1 / alpha) / (len(row) * variance)), 0.75 / (1 + mean))
        wealth *= 1 + bet * (row[place] - mean)
        largest = max(largest, wealth)
    return largest


@pytest.mark.parametrize("mean", [0.0, 0.05, 0.3])
def test_bounds_fail_no_more_often_than_stated(mean: float) -> None:
    """Also for skewed differences, of which few are not 0."""
    dice = np.random.default_rng(1)
    p_win = 0.02 + mean
    rows = dice.choice([-1.0, 0.0, 1.0], (2000, 200), p=[0.02, 0.98 - p_win, p_win])
    failures = int((lower_bounds(rows, 0.05) > mean).sum())
    assert stats.binomtest(failures, 2000, 0.05, alternative="greater").pvalue > 0.01
    failures = int((upper_bounds(rows, 0.05) < mean).sum())
    assert stats.binomtest(failures, 2000, 0.05, alternative="greater").pvalue > 0.01


def test_bounds_are_not_much_wider_than_those_of_a_normal_approximation() -> None:
    dice = np.random.default_rng(2)
    rows = dice.choice([-1.0, 0.0, 1.0], (200, 800), p=[0.1, 0.7, 0.2])
    reach = (rows.mean(axis=1) - lower_bounds(rows, 0.01)).mean()
    normal = stats.norm.ppf(0.99) * rows.std() / math.sqrt(800)
    assert normal < reach < 1.8 * normal


def test_upper_bounds_mirror_lower_ones() -> None:
    rows = np.random.default_rng(3).choice([-1.0, 0.0, 0.5, 1.0], (3, 50))
    np.testing.assert_allclose(upper_bounds(rows, 0.1), -lower_bounds(-rows, 0.1))


def test_nothing_is_shown_without_evidence() -> None:
    assert lower_bounds(np.zeros((1, 2)), 0.01)[0] < -0.7
    assert upper_bounds(np.zeros((1, 2)), 0.01)[0] > 0.7


def test_all_looks_together_spend_alpha() -> None:
    assert sum(share_of_look(0.05, look) for look in range(1, 100_001)) == pytest.approx(0.05, rel=1e-4)

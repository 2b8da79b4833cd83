"""coverage@k and regret@k against enumeration of every way to break ties."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from models_train.selection.scores import coverage_at_k, coverages_at_k, regret_at_k


def tops(values: np.ndarray, k: int) -> list[frozenset[int]]:
    """The k best under every order of breaking ties."""
    orders = permutations(range(values.size))
    return [frozenset(sorted(order, key=lambda i: -values[i])[:k]) for order in orders]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(
    ("predicted", "observed"),
    [
        ([3, 3, 3, 2, 1, 1], [1, 5, 5, 4, 4, 4]),
        ([1, 1, 1, 1, 1, 1], [6, 5, 4, 3, 2, 1]),
        ([6, 5, 4, 3, 2, 1], [6, 5, 4, 3, 2, 1]),
        ([2, 2, 7, 7, 1, 0], [3, 3, 3, 9, 9, 0]),
    ],
)
def test_ties_are_broken_at_random(predicted: list[float], observed: list[float], k: int) -> None:
    x, y = np.array(predicted, dtype=float), np.array(observed, dtype=float)
    picked, best = tops(x, k), tops(y, k)
    overlap = np.mean([len(a & b) / k for a in picked for b in best])
    regret = np.mean([y.max() - max(y[i] for i in a) for a in picked])
    assert coverage_at_k(x, y, k) == pytest.approx(overlap, abs=1e-12)
    assert regret_at_k(x, y, k) == pytest.approx(regret, abs=1e-12)


def test_a_constant_prediction_covers_by_chance() -> None:
    observed = np.random.default_rng(0).normal(size=40)
    assert coverage_at_k(np.zeros(40), observed, 10) == pytest.approx(10 / 40)


def test_rankings_are_covered_one_by_one() -> None:
    predicted, observed = np.random.default_rng(1).integers(0, 4, size=(2, 7, 9)).astype(float)
    one_by_one = [coverage_at_k(a, b, 4) for a, b in zip(predicted, observed, strict=True)]
    np.testing.assert_allclose(coverages_at_k(predicted, observed, 4), one_by_one)

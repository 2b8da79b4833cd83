"""Binomial draws against SciPy's distribution, on both sides of where the method changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models_train.mix.binomials import FEW, fill_binomial, uniform

DRAWS = 100_000


def drawn(seed: int, n: int, odds: float) -> np.ndarray:
    found = np.empty(DRAWS, np.int64)
    fill_binomial(np.array([seed], np.uint64), n, odds, found)
    return found


@pytest.mark.parametrize(
    ("n", "odds"),
    [(1, 0.5), (7, 0.3), (19, 0.5), (20, 0.5), (21, 0.5), (40, 0.75), (1000, 0.002), (60, 0.9), (1000, 0.5),
     (4000, 0.43), (400_000, 0.5), (3_000_000, 0.2)],
)  # fmt: skip
def test_draws_have_the_distribution(n: int, odds: float) -> None:
    """Counts of 25 classes of about equal probability, by chi-square; the seeds are fixed, so it holds or not."""
    found, law = drawn(1, n, odds), stats.binom(n, odds)
    borders = np.unique(law.ppf(np.linspace(0, 1, 26)[1:-1]))
    shares = np.diff(np.concatenate([[0], law.cdf(borders), [1]]))
    counts = np.bincount(np.searchsorted(borders, found), minlength=shares.size)
    kept = shares > 1e-9
    assert counts[~kept].sum() == 0
    assert stats.chisquare(counts[kept], DRAWS * shares[kept] / shares[kept].sum()).pvalue > 0.001
    assert found.min() >= 0 and found.max() <= n


def test_both_methods_are_used_above() -> None:
    assert 19 * 0.5 < FEW <= 20 * 0.5


@pytest.mark.parametrize("odds", [0.0, 1.0])
def test_certain_outcomes(odds: float) -> None:
    assert (drawn(2, 50, odds) == 50 * odds).all()
    assert (drawn(2, 0, 0.5) == 0).all()


def test_a_stream_is_splitmix64() -> None:
    """The first outputs for the state 1234567, as published with the reference code, as shares of 2^64."""
    stream = np.array([1234567], np.uint64)
    published = (6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431)
    assert [uniform(stream) for _ in published] == [(number >> 11) / 2**53 for number in published]

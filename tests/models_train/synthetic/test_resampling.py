"""Resampled statistics against SciPy on the sample written out, and cases worked by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from models_train.synthetic.resampling import (
    draws,
    interval,
    mean_rank_correlation,
    median,
    rank_correlation,
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def written_out(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Every value as often as it was drawn."""
    return np.repeat(values, weights.astype(int))


def test_rank_correlations_are_scipys_on_the_sample_written_out(generator: np.random.Generator) -> None:
    x, y = generator.integers(0, 6, 12).astype(float), generator.normal(size=12)  # x with ties
    weights = generator.integers(0, 4, (50, 12)).astype(float)
    found = rank_correlation(x, y, weights)
    for row, value in zip(weights, found, strict=True):
        assert value == pytest.approx(stats.spearmanr(written_out(x, row), written_out(y, row)).statistic)


def test_a_mean_is_over_the_samples_that_have_a_correlation(generator: np.random.Generator) -> None:
    x, y, weights = generator.normal(size=8), generator.normal(size=8), np.ones((1, 8))
    expected = stats.spearmanr(x, y).statistic
    assert mean_rank_correlation([(x, y, weights), (np.ones(8), y, weights)])[0] == pytest.approx(expected)
    assert mean_rank_correlation([(x, y, weights), (y, y, weights)])[0] == pytest.approx((expected + 1) / 2)
    assert np.isnan(mean_rank_correlation([(np.ones(8), y, weights)])).all()


def test_nothing_that_varies_gives_no_correlation() -> None:
    one, varied = np.ones(4), np.arange(4.0)
    weights = np.array([[1.0, 1, 1, 1], [4, 0, 0, 0], [0, 0, 0, 0]])
    assert np.isnan(rank_correlation(one, varied, weights)).all()
    assert np.isnan(rank_correlation(varied, varied, weights)).tolist() == [False, True, True]


def test_models_of_one_pretraining_are_drawn_together() -> None:
    weights = draws(["b", "a", "b", "c", "a"], 500, "x")
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.1)
    assert (draws(["b", "a", "b", "c", "a"], 500, "x") == weights).all()
    assert (draws(["b", "a", "b", "c", "a"], 500, "y") != weights).any()


def test_medians_are_numpys_on_the_sample_written_out(generator: np.random.Generator) -> None:
    values, weights = generator.normal(size=7), generator.integers(0, 3, (40, 7)).astype(float)
    for row, value in zip(weights, median(values, weights), strict=True):
        assert value == pytest.approx(np.median(written_out(values, row)))
    assert np.isnan(median(values, np.zeros((1, 7)))).all() and np.isnan(median(np.empty(0), np.empty((2, 0)))).all()


def test_an_interval_leaves_out_what_has_no_value() -> None:
    assert interval(np.array([np.nan, *np.arange(101.0)])) == pytest.approx((2.5, 97.5))
    assert interval(np.array([np.nan])) is None


@pytest.mark.parametrize("statistic", ["models", "pairs", "median"])
def test_where_there_is_nothing_to_find_few_intervals_miss_zero(statistic: str, generator: np.random.Generator) -> None:
    n, missed = 9, []
    pairs = list(combinations(range(n), 2))
    for number in range(150):
        weights = draws([str(place) for place in range(n)], 200, f"{number}")
        x, y = generator.normal(size=(2, n))
        if statistic == "pairs":
            x, y = (np.array([abs(one[a] - one[b]) for a, b in pairs]) for one in (x, y))
            weights = np.prod(weights[:, np.array(pairs)], axis=2)
        found = interval(median(x, weights) if statistic == "median" else rank_correlation(x, y, weights))
        assert found is not None
        missed.append(not found[0] <= 0 <= found[1])
    assert np.mean(missed) < 0.12, "nominal is 0.05; 150 samples of that are below 0.1"

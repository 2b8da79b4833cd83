"""Intervals against hand-worked cases and independent computations."""

from __future__ import annotations

import numpy as np

from models_train.selection.scores import cluster_resamples, jackknife_plus, residual_interval


def test_jackknife_plus_by_hand() -> None:
    # n = 9, level 0.8: lower rank floor(0.2 * 10) = 2, upper rank ceil(0.8 * 10) = 8.
    centres = np.array([[10.0, 11, 12, 10, 9, 10, 11, 10, 10]])
    residuals = np.array([1.0, 2, 1, 4, 1, 2, 3, 0, 5])
    # centres - residuals: 9 9 11 6 8 8 8 10 5 -> sorted 5 6 8 8 8 9 9 10 11 -> second: 6
    # centres + residuals: 11 13 13 14 10 12 14 10 15 -> sorted 10 10 11 12 13 13 14 14 15 -> eighth: 14
    low, high = jackknife_plus(centres, residuals, level=0.8)
    assert (low[0], high[0]) == (6.0, 14.0)


def test_jackknife_plus_with_one_model_everywhere_is_the_residual_interval() -> None:
    residuals = np.abs(np.random.default_rng(0).normal(size=39))
    low, high = jackknife_plus(np.full((2, 39), 70.0), residuals)
    expected = residual_interval(np.full(2, 70.0), residuals)
    np.testing.assert_allclose((low, high), expected)


def test_too_few_models_leave_the_interval_open() -> None:
    low, high = jackknife_plus(np.full((1, 8), 70.0), np.ones(8), level=0.9)
    assert (low[0], high[0]) == (-np.inf, np.inf)
    assert residual_interval(np.array([70.0]), np.ones(8))[1][0] == np.inf


def test_jackknife_plus_covers_exchangeable_models() -> None:
    generator = np.random.default_rng(3)
    hits = []
    for _ in range(2000):
        sample = generator.normal(size=21)
        train, new = sample[:20], sample[20]
        without = (train.sum() - train) / 19
        low, high = jackknife_plus(without[None, :], np.abs(train - without))
        hits.append(low[0] <= new <= high[0])
    assert 0.88 <= np.mean(hits) <= 0.94


def test_a_resample_keeps_publishers_whole() -> None:
    clusters = np.array(["a", "b", "a", "c", "b"])
    for rows in cluster_resamples(clusters, 50, seed=0):
        counts = np.bincount(rows, minlength=5)
        assert counts[0] == counts[2]
        assert counts[1] == counts[4]

"""Distances against SciPy, floors against permuted documents, intervals against the truth they should hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import norm

from models_train.mix.distances import (
    block_counts,
    block_weights,
    distances,
    intervals,
    null_floors,
    pairs,
    resampled_divergences,
)
from models_train.mix.samples import N_BLOCKS, Samples

BINS = 20
EDGES = norm.ppf(np.linspace(0, 1, BINS + 1)[1:-1]).astype(np.float32)
BORDERS = np.concatenate([[-9], EDGES, [9]]).astype(np.float32)


def drawn(rng: np.random.Generator, n: int, shift: float, same_documents: bool) -> np.ndarray:
    """Block counts (2, BINS, N_BLOCKS) of two models whose scores correlate at 0.9, the second shifted."""
    easy = rng.normal(size=n)
    scores = [np.sqrt(0.9) * easy + np.sqrt(0.1) * rng.normal(size=n) for _ in range(2)]
    blocks = [rng.integers(0, N_BLOCKS, n).astype(np.uint8)] * 2
    if not same_documents:
        blocks[1] = rng.integers(0, N_BLOCKS, n).astype(np.uint8)
    found = []
    for values, own in zip((scores[0], scores[1] + shift), blocks, strict=True):
        order = np.argsort(values)
        sample = Samples(["m"], ["d"], values[order].astype(np.float32), own[order], np.array([[0, n]]))
        found.append(block_counts(sample, BORDERS, ["m"])[0])
    return np.array(found)


def test_distances_are_scipys() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 20, (6, 100)))
    found = distances(counts)
    expected = [jensenshannon(counts[a], counts[b], base=2) for a, b in pairs(6)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    same = distances(np.array([counts[0], 3 * counts[0]]))
    assert same == pytest.approx(0, abs=1e-7) and not np.isnan(same).any()
    assert distances(np.eye(2)) == pytest.approx(1)
    assert distances(counts[:1]).size == 0


def test_the_floor_is_that_of_permuted_documents() -> None:
    """The same as shuffling the documents themselves, as far as so few shuffles tell; equal sides and unequal ones."""
    rng = np.random.default_rng(1)
    sides = ((900, rng.dirichlet(np.ones(BINS))), (300, np.ones(BINS) / BINS), (500, rng.dirichlet(np.ones(BINS))))
    sides += ((300, rng.dirichlet(np.ones(BINS))), (900, rng.dirichlet(np.ones(BINS))))
    counts = np.array([rng.multinomial(n, shares) for n, shares in sides])
    found = null_floors(counts, 400, "seed")
    for (a, b), floor in zip(pairs(5), found, strict=True):
        pool, n_a, shuffled = np.repeat(np.arange(BINS), counts[a] + counts[b]), counts[a].sum(), []
        for _ in range(400):
            rng.shuffle(pool)
            halves = (np.bincount(half, minlength=BINS) for half in (pool[:n_a], pool[n_a:]))
            shuffled.append(jensenshannon(*halves, base=2))
        assert floor == pytest.approx(np.mean(shuffled), abs=6 * np.std(shuffled) / np.sqrt(400))
    np.testing.assert_array_equal(null_floors(counts, 400, "seed"), found)
    assert (null_floors(counts, 400, "other") != found).all()


def test_the_floor_of_large_samples_follows_chi_square() -> None:
    """Under the null the divergence is (K - 1)(1/n_a + 1/n_b) / (8 ln 2) on average."""
    expected = np.sqrt(99 * 2 / 200_000 / (8 * np.log(2)))
    assert null_floors(np.full((2, 100), 2000), 50, "seed")[0] == pytest.approx(expected, rel=0.03)


def test_a_floor_of_single_documents_is_a_number() -> None:
    """Draws that leave a side empty say nothing and are passed over."""
    for counts in (np.eye(2, 3, dtype=int), np.array([[1, 0, 0], [0, 1, 1]])):
        assert 0 <= null_floors(counts, 50, "seed")[0] <= 1


def test_a_resample_is_what_drawing_its_blocks_gives() -> None:
    counts = drawn(np.random.default_rng(2), 3000, 0.3, same_documents=True)
    weights = block_weights(5)
    assert weights.sum(axis=1).tolist() == [N_BLOCKS] * 5
    found = resampled_divergences(counts, weights)
    for number, weight in enumerate(weights):
        p, q = (np.repeat(side, weight.astype(int), axis=1).sum(axis=1) for side in counts)
        assert found[0, number] == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.5])
def test_intervals_hold_the_true_distance(shift: float) -> None:
    """95 % of them, or more where the truth is near zero; percentiles of the plug-in would hold it hardly ever."""
    rng = np.random.default_rng(3)
    weights, n = block_weights(200), 4000
    shares = [np.diff(norm.cdf(np.concatenate([[-np.inf], EDGES - by, [np.inf]]))) for by in (0, shift)]
    truth = float(np.nan_to_num(jensenshannon(*shares, base=2)))
    held, percentiles, repetitions = 0, 0, 100
    for _ in range(repetitions):
        counts = drawn(rng, n, shift, same_documents=True)
        resampled = resampled_divergences(counts, weights)
        low, high = intervals(distances(counts.sum(axis=2)), resampled)
        held += low[0] <= truth <= high[0]
        percentiles += np.quantile(resampled, 0.025) <= truth**2 <= np.quantile(resampled, 0.975)
    assert held >= 89, "95 % less three standard errors"
    assert percentiles < held


def test_shared_documents_are_drawn_for_both_sides() -> None:
    """Models that agree on the documents differ by less chance than models that saw different ones."""
    widths = []
    for same in (True, False):
        counts = drawn(np.random.default_rng(4), 20_000, 0.5, same)
        low, high = intervals(distances(counts.sum(axis=2)), resampled_divergences(counts, block_weights(200)))
        widths.append(float(high[0] - low[0]))
    assert widths[0] < 0.6 * widths[1]


def test_a_handful_of_documents_has_an_interval_all_the_same() -> None:
    """Resamples that draw no document of a side say nothing and are passed over."""
    counts = np.zeros((2, BINS, N_BLOCKS), dtype=int)
    counts[0, 3, 5] = counts[1, 4, 9] = 1
    resampled = resampled_divergences(counts, block_weights(200))
    assert np.isnan(resampled).any()
    low, high = intervals(distances(counts.sum(axis=2)), resampled)
    assert (low[0], high[0]) == pytest.approx((1, 1))


@pytest.mark.parametrize("n_resamples", [1, 2, 200])
def test_ends_of_an_interval_are_numpys_quantiles(n_resamples: int) -> None:
    """Also where some resamples, or all, say nothing."""
    rng = np.random.default_rng(5)
    resampled = rng.gamma(2, 1e-3, (6, n_resamples))
    resampled[1, rng.random(n_resamples) < 0.3] = np.nan
    observed = np.sqrt(rng.gamma(9, 1e-3, 6))
    resampled[2, 1:], resampled[3] = np.nan, np.nan
    low, high = intervals(observed, resampled)
    for number, (one, draws) in enumerate(zip(observed, resampled, strict=True)):
        known = draws[~np.isnan(draws)]
        expected = np.quantile(known, [0.975, 0.025]) if known.size else np.full(2, np.nan)
        ends = np.sqrt(np.clip(2 * one**2 - expected, 0, 1))
        np.testing.assert_allclose([low[number], high[number]], ends, rtol=1e-12)


def test_distances_close_to_zero_are_scipys() -> None:
    """Two samples of one distribution, where sums of logarithms cancel."""
    counts = np.random.default_rng(6).poisson(20_000, (5, 100))
    expected = [jensenshannon(counts[a], counts[b], base=2) for a, b in pairs(5)]
    np.testing.assert_allclose(distances(counts), expected, rtol=0, atol=1e-14)


def test_a_distance_is_never_above_one() -> None:
    """Few documents in many bins: every split is disjoint, and rounding must not carry the mean past 1."""
    rng = np.random.default_rng(0)
    for number in range(200):
        counts = np.array([np.bincount(rng.integers(0, 1000, 7), minlength=1000) for _ in range(3)])
        floors = null_floors(counts, 20, f"{number}")
        assert ((floors >= 0) & (floors <= 1)).all()
        assert (distances(counts) <= 1).all()

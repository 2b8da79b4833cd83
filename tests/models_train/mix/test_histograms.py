"""Sorted samples and histograms on common edges, against NumPy on the pooled scores."""

from __future__ import annotations

import numpy as np
import pytest

from models_train.mix.distances import BINNINGS, block_counts, counts, edges, pooled_order_statistics
from models_train.mix.samples import N_BLOCKS, Samples, numbers, ordinals


def side_by_side(parts: list[np.ndarray]) -> Samples:
    """One model per part, behind documents of nobody, so that a sample does not begin at 0."""
    ends = 7 + np.cumsum([part.size for part in parts])
    spans = np.column_stack([ends - [part.size for part in parts], ends])
    scores = np.concatenate([np.full(7, -9e9, np.float32), *parts])
    names = [f"model {place}" for place in range(len(parts))]
    return Samples(names, ["Book"] * len(parts), scores, np.zeros(scores.size, np.uint8), spans)


def pools() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    drawn = {
        "spread": [rng.normal(-3, 1, 5000), rng.normal(-2, 0.5, 300), rng.exponential(size=77)],
        "ties": [np.round(rng.normal(size=999), 1), np.zeros(500)],
        "constant": [np.full(10, -1.5), np.full(3, -1.5)],
        "one document": [np.array([-2.0])],
        "one side empty": [np.array([]), rng.normal(size=250)],
        "far apart": [rng.normal(-1e30, 1e29, 100), rng.normal(1e-30, 1e-31, 100), np.array([-0.0, 0.0])],
    }
    return {name: [np.sort(one.astype(np.float32)) for one in found] for name, found in drawn.items()}


@pytest.mark.parametrize("name", pools())
def test_edges_are_numpys_quantiles_of_the_pool(name: str) -> None:
    samples = pools()[name]
    pool = np.concatenate(samples).astype(np.float64)
    expected = {
        "quantile": np.quantile(pool, np.linspace(0, 1, 101)),
        "equal_width": np.linspace(pool.min(), pool.max(), 101),
    }
    for binning in BINNINGS:
        found = edges(side_by_side(samples), 100, binning)
        np.testing.assert_allclose(found, expected[binning], rtol=1e-6, atol=1e-7)
        assert (np.diff(found) >= 0).all()
        whole = [np.histogram(sample.astype(np.float64), found.astype(np.float64))[0] for sample in samples]
        np.testing.assert_array_equal(counts(side_by_side(samples), found), whole)


@pytest.mark.parametrize("name", ["spread", "ties", "far apart"])
def test_order_statistics_are_those_of_the_sorted_pool(name: str) -> None:
    samples = pools()[name]
    pool = np.sort(np.concatenate(samples))
    np.testing.assert_array_equal(pooled_order_statistics(side_by_side(samples), np.arange(pool.size)), pool)


def test_ordinals_keep_the_order_and_come_back() -> None:
    scores = np.array([-np.float32(3e38), -2.5, -1e-45, -0.0, 0.0, 1e-45, 2.5, 3e38], dtype=np.float32)
    assert (np.diff(ordinals(scores)) > 0).all()
    np.testing.assert_array_equal(numbers(ordinals(scores)), scores)


def test_quantile_bins_hold_equal_shares_of_the_pool() -> None:
    parts = pools()["spread"]
    samples = side_by_side(parts)
    whole = counts(samples, edges(samples, 100, "quantile")).sum(axis=0)
    assert whole.sum() == sum(map(len, parts))
    assert whole.min() >= whole.sum() / 100 - 2


def test_block_counts_are_two_way_tables_by_model() -> None:
    """The two samples of a are counted together."""
    rng = np.random.default_rng(1)
    sizes, owners = (2000, 500, 0, 900), ["a", "b", "b", "a"]
    parts = [np.sort(rng.normal(size=size).astype(np.float32)) for size in sizes]
    flat = side_by_side(parts)
    blocks = rng.integers(0, N_BLOCKS, flat.scores.size).astype(np.uint8)
    samples = Samples(owners, ["x", "x", "y", "y"], flat.scores, blocks, flat.spans)
    borders = edges(samples, 10, "equal_width")
    table = block_counts(samples, borders, ["a", "b"])
    for model, found in zip("ab", table, strict=True):
        mine = np.concatenate([np.arange(*span) for span, own in zip(flat.spans, owners, strict=True) if own == model])
        expected = np.histogram2d(
            flat.scores[mine], blocks[mine], [borders.astype(np.float64), np.arange(N_BLOCKS + 1)]
        )[0]
        np.testing.assert_array_equal(found, expected)
    assert table.sum() == sum(sizes)

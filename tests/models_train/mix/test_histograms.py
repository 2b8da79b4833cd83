"""Sorted samples and histograms on common edges, against NumPy on the pooled scores."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models_train.mix.histograms import BINNINGS, block_counts, counts, edges, pooled_order_statistics
from models_train.mix.samples import N_BLOCKS, numbers, ordinals, read_samples, sort_documents


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
        found = edges(samples, 100, binning)
        np.testing.assert_allclose(found, expected[binning], rtol=1e-6, atol=1e-7)
        assert (np.diff(found) >= 0).all()
        for sample in samples:
            whole = np.histogram(sample.astype(np.float64), found.astype(np.float64))[0]
            np.testing.assert_array_equal(counts(sample, found), whole)


@pytest.mark.parametrize("name", ["spread", "ties", "far apart"])
def test_order_statistics_are_those_of_the_sorted_pool(name: str) -> None:
    samples = pools()[name]
    pool = np.sort(np.concatenate(samples))
    np.testing.assert_array_equal(pooled_order_statistics(samples, np.arange(pool.size)), pool)


def test_ordinals_keep_the_order_and_come_back() -> None:
    scores = np.array([-np.float32(3e38), -2.5, -1e-45, -0.0, 0.0, 1e-45, 2.5, 3e38], dtype=np.float32)
    assert (np.diff(ordinals(scores)) > 0).all()
    np.testing.assert_array_equal(numbers(ordinals(scores)), scores)


def test_quantile_bins_hold_equal_shares_of_the_pool() -> None:
    samples = pools()["spread"]
    whole = sum(counts(sample, edges(samples, 100, "quantile")) for sample in samples)
    assert whole.sum() == sum(map(len, samples))
    assert whole.min() >= whole.sum() / 100 - 2


def test_block_counts_are_a_two_way_table() -> None:
    rng = np.random.default_rng(1)
    scores, blocks = np.sort(rng.normal(size=2000).astype(np.float32)), rng.integers(0, N_BLOCKS, 2000).astype(np.uint8)
    found = edges([scores], 10, "equal_width")
    table = block_counts(scores, blocks, found)
    expected = np.histogram2d(blocks, scores, [np.arange(N_BLOCKS + 1), found.astype(np.float64)])[0]
    np.testing.assert_array_equal(table, expected)


def test_documents_are_sorted_by_each_kind_and_keep_their_blocks() -> None:
    """A document without a score of a kind is left out of that kind alone; a kind without scores has no row."""
    rows = {
        "Book": [(7, -1.5, 0.5), (200, -2.5, None), (9, -2.0, -0.25)],
        "Github": [(1, 3.0, None)],
        "ArXiv": [],
    }
    documents = pa.table(
        {
            "domain": list(rows),
            "documents": pa.array(
                [[dict(zip(("block", "a", "b"), row, strict=True)) for row in found] for found in rows.values()],
                pa.list_(pa.struct([("block", pa.uint8()), ("a", pa.float32()), ("b", pa.float32())])),
            ),
        }
    )
    found = sort_documents(documents, ["a", "b"])
    read = read_samples(found.append_column("model_id", pa.array(["m"] * found.num_rows)))
    table = {
        (sample.domain, kind): (sample.scores.tolist(), sample.blocks.tolist())
        for kind in ("a", "b")
        for sample in read_samples(
            found.filter(pa.compute.equal(found["score_kind"], kind)).append_column(
                "model_id", pa.array(["m"] * found["score_kind"].to_pylist().count(kind))
            )
        )
    }
    assert len(read) == 3
    assert table == {
        ("Book", "a"): ([-2.5, -2.0, -1.5], [200, 9, 7]),
        ("Book", "b"): ([-0.25, 0.5], [9, 7]),
        ("Github", "a"): ([3.0], [1]),
    }
    assert sort_documents(documents.slice(0, 0), ["a"]).num_rows == 0

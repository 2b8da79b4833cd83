"""Sorted copies of scores: against NumPy's sort, and back from their bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from models_train.mix.samples import read_samples, sort_documents


def documents(rows: dict[str, list[tuple]], kinds: tuple[str, ...]) -> pa.Table:
    """Rows by domain: block, and a score per kind."""
    flat = [(domain, *row) for domain, found in rows.items() for row in found]
    columns = list(zip(*flat, strict=True)) or [[]] * (2 + len(kinds))
    types = [pa.string(), pa.uint8(), *[pa.float32()] * len(kinds)]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.table(arrays, names=["domain", "block", *kinds])


def read(found: pa.Table, kind: str) -> dict[str, tuple[list[float], list[int]]]:
    mine = found.filter(pa.compute.equal(found["score_kind"], kind))
    samples = read_samples(mine.append_column("model_id", pa.array(["m"] * mine.num_rows, pa.string())))
    return {
        domain: (samples.scores[first:end].tolist(), samples.blocks[first:end].tolist())
        for domain, (first, end) in zip(samples.domains, samples.spans, strict=True)
    }


def test_documents_are_sorted_by_each_kind_and_keep_their_blocks() -> None:
    """A document without a score of a kind is left out of that kind alone; a kind without scores has no row."""
    rows = {
        "Book": [(7, -1.5, 0.5, None), (200, -2.5, None, None), (9, -2.0, -0.25, None)],
        "Github": [(1, 3.0, None, None)],
        "ArXiv": [],
    }
    found = sort_documents(documents(rows, ("a", "b", "c")))
    assert set(found["score_kind"].to_pylist()) == {"a", "b"}
    assert read(found, "a") == {"Book": ([-2.5, -2.0, -1.5], [200, 9, 7]), "Github": ([3.0], [1])}
    assert read(found, "b") == {"Book": ([-0.25, 0.5], [9, 7])}
    assert sort_documents(documents({}, ("a",))).num_rows == 0
    assert sort_documents(documents({"Book": [(7, float("nan"))]}, ("a",))).num_rows == 0


def test_every_float_finds_its_place() -> None:
    """Numbers of any bits but NaN, in chunks as DuckDB gives them; equal scores go by their blocks."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 2**32, 5000, np.uint64).astype(np.uint32).view(np.float32)
    scores = np.concatenate([scores, scores[:50], np.array([0.0, -0.0, np.inf, -np.inf, np.nan], np.float32)])
    blocks, domains = rng.integers(0, 256, scores.size), rng.choice(["x", "y"], scores.size)
    whole = pa.table(
        {"domain": domains.tolist(), "block": pa.array(blocks, pa.uint8()), "a": pa.array(scores, pa.float32())}
    )
    found = read(sort_documents(pa.concat_tables([whole.slice(0, 999), whole.slice(999)])), "a")
    for domain in ("x", "y"):
        mine = (domains == domain) & ~np.isnan(scores)
        order = np.lexsort([blocks[mine], np.signbit(scores[mine]) < 1, scores[mine]])
        assert found[domain] == (scores[mine][order].tolist(), blocks[mine][order].tolist())


def test_scores_without_their_blocks_are_refused() -> None:
    rows = sort_documents(documents({"Book": [(7, -1.5), (8, -2.5)]}, ("a",)))
    broken = rows.set_column(3, "blocks", pa.array([b"7"])).append_column("model_id", pa.array(["m"]))
    with pytest.raises(ValueError, match="--full-refresh"):
        read_samples(broken)

"""Wasserstein-1 and Spearman against SciPy, with ties, missing scores and documents in any order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from scipy import stats

from models_train.mix.agreement import AlignedScores, Scores, spearman, wasserstein_1
from models_train.mix.tables import AGREEMENT_SCHEMA, agreement_rows


def scores(rng: np.random.Generator, n: int, missing: float, digits: int) -> np.ndarray:
    values = np.round(rng.normal(size=n), digits)
    values[rng.random(n) < missing] = np.nan
    return values


@pytest.mark.parametrize("digits", [1, 9], ids=["ties", "no ties"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_scipys_figures(digits: int, missing: float) -> None:
    rng = np.random.default_rng(0)
    for n in (3, 20, 500):
        a, b = scores(rng, n, missing, digits), scores(rng, n, missing, digits)
        if np.isnan(a).all() or np.isnan(b).all():
            continue
        own = [values[~np.isnan(values)] for values in (a, b)]
        assert wasserstein_1(Scores(a), Scores(b)) == pytest.approx(stats.wasserstein_distance(*own), rel=1e-9)
        shared = ~np.isnan(a) & ~np.isnan(b)
        found, n_shared = spearman(Scores(a), Scores(b))
        assert n_shared == shared.sum()
        if n_shared >= 3:
            assert found == pytest.approx(stats.spearmanr(a[shared], b[shared]).statistic, abs=1e-12)
        else:
            assert found is None


def test_no_correlation_without_variation_or_with_two_documents() -> None:
    assert spearman(Scores(np.zeros(9)), Scores(np.arange(9.0))) == (None, 9)
    assert spearman(Scores(np.array([1.0, 2, np.nan])), Scores(np.array([2.0, 1, 3]))) == (None, 2)
    assert spearman(Scores(np.arange(9.0)), Scores(-np.arange(9.0))) == (pytest.approx(-1), 9)


def listed(model: str, domain: str, keys: np.ndarray, values: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "model_id": [model],
            "domain": [domain],
            "keys": pa.array([keys], pa.list_(pa.uint64())),
            "scores": pa.array([values], pa.list_(pa.float64())),
        }
    )


def test_documents_meet_by_key_in_every_domain_and_over_all() -> None:
    rng = np.random.default_rng(1)
    keys = {
        "Book": rng.integers(0, 2**63, 60).astype(np.uint64),
        "Github": rng.integers(0, 2**63, 40).astype(np.uint64),
    }
    own = {model: {domain: rng.normal(size=names.size) for domain, names in keys.items()} for model in "abc"}
    aligned = AlignedScores()
    for model in "cab":
        for domain, names in keys.items():
            order = rng.permutation(names.size)[3 if model == "b" else 0 :]  # b lacks three documents of each
            if (model, domain) != ("c", "Github"):
                aligned.add(listed(model, domain, names[order], own[model][domain][order]))
                own[model][domain][np.setdiff1d(np.arange(names.size), order)] = np.nan
    own["c"]["Github"][:] = np.nan
    table = agreement_rows(aligned)
    assert table.schema == AGREEMENT_SCHEMA
    rows = pl.from_arrow(table)
    assert rows.group_by("domain").len().sort("domain").rows() == [("Book", 3), ("Github", 1), ("all", 3)]
    for domain, a, b, wasserstein, rank_correlation, n_shared in rows.iter_rows():
        wanted = list(keys) if domain == "all" else [domain]
        x, y = (np.concatenate([own[model][name] for name in wanted]) for model in (a, b))
        shared = ~np.isnan(x) & ~np.isnan(y)
        assert n_shared == shared.sum()
        assert rank_correlation == pytest.approx(stats.spearmanr(x[shared], y[shared]).statistic, abs=1e-12)
        assert wasserstein == pytest.approx(stats.wasserstein_distance(x[~np.isnan(x)], y[~np.isnan(y)]), rel=1e-9)


def test_a_document_scored_twice_is_refused() -> None:
    aligned = AlignedScores()
    with pytest.raises(ValueError, match="m has more than one score"):
        aligned.add(listed("m", "Book", np.array([5, 6, 5], dtype=np.uint64), np.zeros(3)))


def test_nothing_scored_gives_no_rows() -> None:
    assert agreement_rows(AlignedScores()).equals(AGREEMENT_SCHEMA.empty_table())

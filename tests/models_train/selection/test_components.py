"""Capability components against a plain singular value decomposition."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models_train.selection.components import capability_components, low_rank_impute, noise_shares
from models_train.selection.features import TooLittleData, feature_table

Frames = tuple[pl.DataFrame, pl.DataFrame]


def test_complete_matrix_against_numpy(published: Frames) -> None:
    models = published[1]["model_id"].unique()
    table = feature_table(published[0], models, min_share=0.9, aggregates=("leaderboard v2",))
    found = capability_components(table)
    assert found.select("n_imputed", "n_models").unique().row(0) == (0, 40)
    assert found["method"].unique().to_list() == ["complete cases; no cell was imputed"]
    values = table.values[:, list(table.of_kind("benchmark"))]
    scaled = (values - values.mean(axis=0)) / values.std(axis=0)
    _, singular, vectors = np.linalg.svd(scaled, full_matrices=False)
    ratios = found.unique("component").sort("component")["explained_variance_ratio"]
    np.testing.assert_allclose(ratios, singular**2 / np.sum(singular**2), atol=1e-12)
    assert ratios.sum() == pytest.approx(1)
    for number, vector in enumerate(vectors, start=1):
        loadings = found.filter(pl.col("component") == number)["loading"].to_numpy()
        np.testing.assert_allclose(np.abs(loadings), np.abs(vector), atol=1e-9)
        assert loadings[np.abs(loadings).argmax()] > 0


def test_missing_cells_are_counted_and_named(published: Frames) -> None:
    table = feature_table(published[0], published[1]["model_id"].unique(), aggregates=("leaderboard v2",))
    found = capability_components(table)
    cells = np.isnan(table.values[:, list(table.of_kind("benchmark"))])
    missing = int(cells.sum())
    assert found["n_imputed"].unique().to_list() == [missing] and missing > 0
    method = f"iterative low-rank imputation (rank 3) of {missing} of {cells.size} cells"
    assert found["method"].unique().to_list() == [method]


def test_independent_noise_of_ten_columns_gives_five_components_seventy_percent() -> None:
    """An independent simulation found 70 % of ten columns, 40 % of thirty-three, over 40 models."""
    for columns, held in ((10, 0.70), (33, 0.40)):
        shares = noise_shares(np.zeros((40, columns), dtype=bool), 3)
        assert shares.mean(axis=0)[:5].sum() == pytest.approx(held, abs=0.01)
        assert np.allclose(shares.sum(axis=1), 1)


def test_noise_has_the_missing_cells_filled_as_the_matrix(published: Frames) -> None:
    """Filling cells by rank 3 moves variance into the first components, of noise as of benchmarks."""
    table = feature_table(published[0], published[1]["model_id"].unique(), aggregates=("leaderboard v2",))
    found = capability_components(table).unique("component").sort("component")
    complete = noise_shares(np.zeros((40, found.height), dtype=bool), 3).mean(axis=0)
    assert found["noise_ratio"].sum() == pytest.approx(1)
    assert found["noise_ratio"][:3].sum() > complete[:3].sum() + 0.01
    assert (found["noise_ratio_95"] > found["noise_ratio"]).all()


def test_a_low_rank_matrix_is_recovered() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(40, 2)) @ generator.normal(size=(2, 8)) + 5
    holed = truth.copy()
    holes = generator.random(truth.shape) < 0.08
    holed[holes] = np.nan
    filled = low_rank_impute(holed, 2)
    np.testing.assert_array_equal(filled[~holes], truth[~holes])
    assert np.abs(filled - truth)[holes].max() < 0.02


def test_one_benchmark_has_no_components(small: Frames) -> None:
    features = small[0].filter((pl.col("feature_kind") == "training") | (pl.col("feature") == "benchmark_1"))
    with pytest.raises(TooLittleData, match=r"1 benchmark\(s\)"):
        capability_components(feature_table(features, small[1]["model_id"]))

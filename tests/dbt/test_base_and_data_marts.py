"""Base and data of RewardBench 2: the published figures, and the decomposition a second time by least squares."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pytest

BASES = {
    "Tulu 8B SFT": 66.1,
    "Tulu 8B DPO": 65.6,
    "Tulu 8B RL": 65.5,
    "Qwen 7B Instruct": 67.2,
    "Llama 8B Instruct": 70.9,
}
DATA = {"Tulu": 64.2, "Skywork": 66.6, "Both": 70.3}


def shares(part: pl.DataFrame) -> np.ndarray:
    """(base, data, rest) of the sum of squares, by the residuals of nested least-squares fits."""
    values = part["value"].to_numpy()

    def unexplained(*factors: str) -> float:
        ones = np.ones((part.height, 1))
        design = np.hstack([ones, *(part.select(name).to_dummies().to_numpy() for name in factors)])
        return float(np.square(values - design @ np.linalg.lstsq(design, values, rcond=None)[0]).sum())

    total, rest = unexplained(), unexplained("model_id", "training_data")
    explained = [total - unexplained("model_id"), total - unexplained("training_data")]
    return np.array([*explained, rest]) / total


@pytest.fixture
def results(warehouse: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    return warehouse.execute("select * from marts.fct_base_by_data_results").pl()


def test_means_and_shares_are_the_published_ones(warehouse: duckdb.DuckDBPyConnection, results: pl.DataFrame) -> None:
    assert results.filter(category="average").height == 20
    grid = results.filter(pl.col("is_in_grid"), category="average")
    assert grid.height == 15
    assert {row["model_id"]: round(row["base_mean"], 1) for row in grid.to_dicts()} == BASES
    assert {row["training_data"]: round(row["data_mean"], 1) for row in grid.to_dicts()} == DATA
    found = warehouse.execute(
        "select effect, round(share, 3) from marts.fct_base_and_data_effects where category = 'average'"
    ).fetchall()
    assert dict(found) == {"base": 0.345, "data": 0.537, "rest": 0.119}


@pytest.mark.parametrize("category", ["average", "math", "ties"])
def test_the_decomposition_and_its_jackknife_equal_least_squares(
    warehouse: duckdb.DuckDBPyConnection, results: pl.DataFrame, category: str
) -> None:
    grid = results.filter(pl.col("is_in_grid"), category=category)
    left_out = np.array([shares(grid.filter(pl.col("model_id") != name)) for name in BASES])
    error = np.sqrt(4 / 5 * np.square(left_out - left_out.mean(axis=0)).sum(axis=0))
    found = warehouse.execute(
        "select * from marts.fct_base_and_data_effects where category = ? order by effect", [category]
    ).pl()
    assert found["effect"].to_list() == ["base", "data", "rest"] and found["n_bases"].to_list() == [5, 5, 5]
    np.testing.assert_allclose(found["share"], shares(grid), atol=1e-12)
    np.testing.assert_allclose(found["share_error"], error, atol=1e-12)
    assert found["degrees_of_freedom"].to_list() == [4, 2, 8]
    deviation = np.sqrt(found["sum_of_squares"][2] / 8)
    assert found["residual_deviation"][0] == pytest.approx(deviation)
    np.testing.assert_allclose(found["standard_error_of_mean"][:2], deviation / np.sqrt([3, 5]))
    assert np.square(grid["residual"]).sum() == pytest.approx(found["sum_of_squares"][2])


def test_its_scores_stay_out_of_the_tables_of_rewardbench(warehouse: duckdb.DuckDBPyConnection) -> None:
    for mart in ("fct_reward_model_results", "fct_size_group_gains", "fct_objective_differences"):
        found = warehouse.execute(f"select count(*) from marts.{mart} where study_id = 'rewardbench2'").fetchone()
        assert found == (0,), mart

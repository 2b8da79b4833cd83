"""The report's SELECTs against a second computation in Polars, and their errors."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest

from warehouse import marts, performance_marts

STUDY = "published"
READERS = (
    marts.sources,
    marts.base_models,
    marts.benchmarks,
    marts.reward_model_results,
    marts.size_group_gains,
    marts.best_in_group,
    marts.objective_differences,
    marts.post_training_stages,
    marts.correlations,
    marts.untested_features,
    marts.correlation_limits,
    marts.coverage,
    performance_marts.predictions,
    performance_marts.scores,
    performance_marts.coefficients,
    performance_marts.final_settings,
    performance_marts.predicted_coverage,
    performance_marts.abstentions,
    performance_marts.excluded_features,
    performance_marts.components,
    performance_marts.recommendations,
)


def test_best_in_group_is_the_largest_score_and_the_gap_is_to_the_second(ordinary: duckdb.DuckDBPyConnection):
    best = marts.best_in_group(ordinary, STUDY)
    results = marts.reward_model_results(ordinary, STUDY)
    assert best.height == 6
    for row in best.iter_rows(named=True):
        group = results.filter(
            (pl.col("objective") == row["objective"]) & (pl.col("size_group") == row["size_group"])
        ).sort("score", "model_id", descending=[True, False])
        first, second = group.row(0, named=True), group.row(1, named=True)
        error = "score_standard_error_approximate"
        assert (row["model_id"], row["runner_up"]) == (first["model_id"], second["model_id"])
        assert row["gap_points"] == pytest.approx(first["score"] - second["score"])
        assert row["gap_error"] == pytest.approx((first[error] ** 2 + second[error] ** 2) ** 0.5)
        near = [
            other["model_id"]
            for other in group.iter_rows(named=True)
            if other["model_id"] != first["model_id"]
            and first["score"] - other["score"] < 1.959964 * (first[error] ** 2 + other[error] ** 2) ** 0.5
        ]
        assert row["n_close"] == len(near)
        assert row["is_approximate"] is True


def test_a_measured_standard_error_goes_before_the_approximation(tmp_path, builder):
    path = builder.write_marts(tmp_path / "measured.duckdb", [builder.small_study()])
    with duckdb.connect(str(path)) as connection:
        connection.execute("update marts.fct_reward_model_results set score_standard_error = 2.0")
        best = marts.best_in_group(connection, STUDY)
    assert best["is_approximate"].to_list() == [False] * 6
    assert best["gap_error"].to_list() == pytest.approx([8**0.5] * 6)


def test_features_come_in_the_order_of_their_correlation_with_the_score(ordinary: duckdb.DuckDBPyConnection):
    frame = marts.correlations(ordinary, STUDY).filter(pl.col("objective") == "regression")
    score = frame.filter(pl.col("target") == "score")["pearson"].abs().to_list()
    assert score == sorted(score, reverse=True)
    assert frame["target"].to_list()[:5] == ["score", "chat", "chat_hard", "safety", "reasoning"]
    assert set(frame["evidence"]) <= {"q", "p", "none"}


def test_a_feature_with_too_few_models_is_listed_apart(ordinary: duckdb.DuckDBPyConnection):
    untested = marts.untested_features(ordinary, STUDY)
    assert untested.rows() == [("rare_benchmark", 3, "too_few_models")]
    assert "rare_benchmark" not in marts.correlations(ordinary, STUDY)["feature"].to_list()


def test_every_reader_names_its_columns_and_keeps_one_order(ordinary: duckdb.DuckDBPyConnection):
    for reader in READERS:
        frame = reader(ordinary, STUDY)
        assert frame.height > 0, reader.__name__
        assert "study_id" not in frame.columns
        assert frame.equals(reader(ordinary, STUDY)), reader.__name__
        assert reader(ordinary, "no such study").height == 0


def test_a_missing_mart_is_named_with_the_remedy(tmp_path):
    with (
        duckdb.connect(str(tmp_path / "bare.duckdb")) as connection,
        pytest.raises(marts.MartError, match=r"marts\.dim_studies.*dbt build"),
    ):
        marts.studies(connection)

"""Benchmarks that a study lists itself: its runs and imports become features, by the metric that it states."""

from __future__ import annotations

import duckdb


def test_a_study_of_ones_own_has_its_own_benchmarks(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = warehouse.execute(
        "select benchmark, framework, topic, n_models, n_exact from marts.dim_benchmarks where study_id = 'yours' "
        "order by benchmark"
    ).fetchall()
    assert found == [("HumanEval", "evalplus", "Coding", 1, 1), ("own", "lm_eval", "Math", 2, 2)]
    published = warehouse.execute("select count(*) from marts.dim_benchmarks where study_id = 'published'").fetchone()
    assert published == (33,)


def test_values_are_features_by_the_stated_metric_and_a_run_wins(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = warehouse.execute(
        "select model_id, feature, value, metric from marts.fct_regression_features "
        "where study_id = 'yours' and feature_kind = 'benchmark' order by all"
    ).fetchall()
    assert found == [
        ("alpha", "HumanEval", 30.0, "pass@1_pct"),
        ("alpha", "own", 50.0, "acc_norm_pct"),
        ("beta", "own", 60.0, "acc_norm_pct"),
    ]


def test_they_are_listed_among_the_correlations(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = warehouse.execute(
        "select distinct feature, topic, n, status from marts.fct_benchmark_correlations "
        "where study_id = 'yours' and objective = 'bradley_terry' and target = 'score' and feature_kind = 'benchmark'"
    ).fetchall()
    assert {row[0] for row in found} == {"own", "HumanEval"}
    assert all(row[2] <= 2 and row[3] != "tested" for row in found)

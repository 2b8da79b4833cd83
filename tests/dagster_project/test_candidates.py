"""Models that no reward model was trained on: listed in the study file, predicted or abstained from, in the report."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

HEADER = "\ncandidates:\n"
ENTRY = """  - model_id: {name}
    hub_id: example/{name}
    publisher: {publisher}
    family: Qwen2.5
    stage: instruct
    params_b: {params_b}
    tokens_t: 15.0
"""
VALUE = """      - benchmark: "{benchmark}"
        metric: {metric}
        value: {value}
        pipeline: "{pipeline}"
        source: made up for a test
"""


def like(published: duckdb.DuckDBPyConnection, model_id: str) -> str:
    """Benchmark values of a compared model as YAML."""
    rows = published.execute(
        """
        select feature, metric, measured_value, pipeline from fct_regression_features
        where model_id = ? and feature_kind = 'benchmark' order by feature
        """,
        [model_id],
    ).fetchall()
    return "    benchmarks:\n" + "".join(
        VALUE.format(benchmark=b, metric=m, value=float(v), pipeline=p) for b, m, v, p in rows
    )


@pytest.fixture(scope="module")
def with_candidates(
    whole_project_copy: tuple[Path, Path], published: duckdb.DuckDBPyConnection, run: Run
) -> duckdb.DuckDBPyConnection:
    project, home = whole_project_copy
    study = project / "dagster_project" / "studies" / "published.yaml"
    text = study.read_text() + HEADER
    ordinary = like(published, "Llama-3.1-8B-Instruct")
    text += ENTRY.format(name="Inside-7B", publisher="Somebody", params_b=7.0) + ordinary
    text += ENTRY.format(name="Huge-70B", publisher="Somebody", params_b=70.0) + ordinary
    text += ENTRY.format(name="Bare-7B", publisher="Somebody", params_b=7.0)
    study.write_text(text)
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    return duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True)


Row = tuple[str, int | None, float | None, float | None, float | None, float | None, str]


def recommended(with_candidates: duckdb.DuckDBPyConnection, model_id: str) -> list[Row]:
    """Basis, rank, score, interval, probability and reason of a candidate without a size limit, by objective."""
    return with_candidates.execute(
        """
        select basis, rank, expected_score, interval_low, interval_high, probability_best, reason
        from fct_recommendations
        where model_id = ? and size_limit_b is null order by objective
        """,
        [model_id],
    ).fetchall()


@pytest.mark.parametrize("model_id", ["Inside-7B", "Bare-7B"])
def test_a_candidate_within_range_gets_a_prediction_with_an_interval(
    with_candidates: duckdb.DuckDBPyConnection, model_id: str
) -> None:
    rows = recommended(with_candidates, model_id)
    assert len(rows) == 2
    for basis, rank, expected, low, high, probability, reason in rows:
        assert basis == "predicted" and rank is not None and probability is not None
        assert expected is not None and low is not None and high is not None
        assert rank >= 1 and 50 < low < expected < high < 100
        assert 0 <= probability <= 1
        assert reason.startswith("No reward model was trained on it; average ")


def test_a_candidate_without_benchmarks_is_predicted_from_what_is_known(
    with_candidates: duckdb.DuckDBPyConnection,
) -> None:
    for *_, bare in recommended(with_candidates, "Bare-7B"):
        assert "average of log10_params, params_and_tokens and family_size" in bare


def test_a_candidate_that_is_too_far_gets_no_number_but_a_reason(with_candidates: duckdb.DuckDBPyConnection) -> None:
    rows = recommended(with_candidates, "Huge-70B")
    assert len(rows) == 2
    for basis, *numbers, reason in rows:
        assert basis == "predicted" and numbers == [None] * 5
        assert reason.startswith("No recommendation")
        assert "most of all by params_b 70 (seen: 0.49 to 10.3)" in reason


def test_candidates_change_nothing_that_was_measured(
    with_candidates: duckdb.DuckDBPyConnection, published: duckdb.DuckDBPyConnection
) -> None:
    for table in (
        "fct_reward_model_results",
        "fct_size_group_gains",
        "fct_benchmark_correlations",
        "fct_benchmark_coverage",
        "dim_benchmarks",
    ):
        query = f"select * exclude (snapshot_id) from {table} order by all"
        assert with_candidates.execute(query).fetchall() == published.execute(query).fetchall(), table
    compared = "select count(*) from dim_base_models where is_compared"
    assert with_candidates.execute(compared).fetchone() == (40,)
    assert with_candidates.execute("select count(*) from dim_base_models where is_candidate").fetchone() == (3,)


def test_an_unknown_benchmark_of_a_candidate_is_named(
    whole_project_copy: tuple[Path, Path], with_candidates: duckdb.DuckDBPyConnection, run: Run
) -> None:
    project, home = whole_project_copy
    study = project / "dagster_project" / "studies" / "published.yaml"
    original = study.read_text()
    try:
        study.write_text(original.replace('benchmark: "mmlu"', 'benchmark: "mmluu"', 1))
        done = run(home, project=project)
    finally:
        study.write_text(original)
    assert done.returncode == 1
    for words in ("published.yaml", "Inside-7B", "'mmluu'", "mmlu"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr

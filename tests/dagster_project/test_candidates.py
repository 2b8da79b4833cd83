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
    benchmarks:
"""
VALUE = """      - benchmark: "{benchmark}"
        metric: {metric}
        value: {value}
        pipeline: "{pipeline}"
        source: made up for a test
"""


def like(published: duckdb.DuckDBPyConnection, model_id: str, share: float = 1.0) -> str:
    """Benchmark values of a compared model as YAML, the first `share` of them."""
    rows = published.execute(
        """
        select feature, metric, measured_value, pipeline from fct_regression_features
        where model_id = ? and feature_kind = 'benchmark' order by n_models desc, feature
        """,
        [model_id],
    ).fetchall()
    kept = rows[: max(1, round(share * len(rows)))]
    return "".join(VALUE.format(benchmark=b, metric=m, value=float(v), pipeline=p) for b, m, v, p in kept)


@pytest.fixture(scope="module")
def with_candidates(
    whole_project_copy: tuple[Path, Path], published: duckdb.DuckDBPyConnection, run: Run
) -> duckdb.DuckDBPyConnection:
    project, home = whole_project_copy
    study = project / "dagster_project" / "studies" / "published.yaml"
    text = study.read_text() + HEADER
    text += ENTRY.format(name="Inside-7B", publisher="Somebody", params_b=7.0) + like(published, "Qwen2.5-7B-Instruct")
    text += ENTRY.format(name="Huge-70B", publisher="Somebody", params_b=70.0) + like(published, "Qwen2.5-7B-Instruct")
    text += ENTRY.format(name="Unknown-7B", publisher="Somebody", params_b=7.0) + like(
        published, "Qwen2.5-7B-Instruct", share=0.1
    )
    study.write_text(text)
    done = run(home, project=project)
    assert done.returncode == 0, done.stderr
    return duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True)


def test_a_candidate_within_range_gets_a_prediction_with_an_interval(
    with_candidates: duckdb.DuckDBPyConnection,
) -> None:
    row = with_candidates.execute(
        """
        select basis, rank, expected_score, interval_low, interval_high, probability_best, reason
        from fct_recommendations
        where model_id = 'Inside-7B' and objective = 'regression' and size_limit_b = 8
        """
    ).fetchone()
    assert row is not None
    basis, rank, expected, low, high, probability, reason = row
    assert basis == "predicted"
    assert rank >= 1
    assert 70 < expected < 100
    assert low < expected < high
    assert 0 <= probability <= 1
    assert reason


@pytest.mark.parametrize(("name", "word"), [("Huge-70B", "params_b"), ("Unknown-7B", "missing")])
def test_a_candidate_that_cannot_be_judged_gets_no_number_but_a_reason(
    with_candidates: duckdb.DuckDBPyConnection, name: str, word: str
) -> None:
    rows = with_candidates.execute(
        """
        select rank, expected_score, interval_low, probability_best, reason from fct_recommendations
        where model_id = ? and size_limit_b is null
        """,
        [name],
    ).fetchall()
    assert len(rows) == 2
    for *numbers, reason in rows:
        assert numbers == [None] * 4
        assert reason.startswith("No recommendation")
        assert word in reason


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

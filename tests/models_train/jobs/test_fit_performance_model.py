"""The job of the performance model, started as a person would, on the published study's inputs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

JOB = "models_train.jobs.fit_performance_model"


def run_job(inputs: Path, parts: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", JOB, "--inputs", str(inputs), "--parts", str(parts), "--bootstraps", "50"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def inputs(home: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    shutil.copytree(home / "inputs" / "performance", folder)
    return folder


def rewrite(path: Path, change: pl.Expr) -> None:
    pl.read_parquet(path).with_columns(change).write_parquet(path)


def contents(parts: Path) -> dict[str, pl.DataFrame]:
    return {path.parent.parent.name: pl.read_parquet(path) for path in sorted(parts.rglob("*.parquet"))}


def test_the_same_inputs_give_the_same_parts_whatever_the_number_of_processes(inputs: Path, tmp_path: Path) -> None:
    small = pl.col("feature").is_in(["mmlu", "leaderboard_ifeval", "params_b", "log10_params", "tokens_t"])
    for name, kept in (("features", small), ("results", pl.col("objective") == "regression")):
        path = inputs / "published" / f"{name}.parquet"
        pl.read_parquet(path).filter(kept).write_parquet(path)
    one = run_job(inputs, tmp_path / "one", "--jobs", "1")
    two = run_job(inputs, tmp_path / "two", "--jobs", "2")
    assert one.returncode == two.returncode == 0, one.stderr + two.stderr
    assert "verdict, regression, score" in one.stdout
    first, second = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert first.keys() == second.keys()
    assert {"performance_scores", "recommendations", "capability_components"} <= first.keys()
    for name, frame in first.items():
        assert frame.equals(second[name]), name


def test_too_few_models_are_abstained_from_and_still_recommended_by_what_was_measured(
    inputs: Path, tmp_path: Path
) -> None:
    results = inputs / "published" / "results.parquet"
    pl.read_parquet(results).filter(pl.col("model_id").str.starts_with("Qwen2.5")).write_parquet(results)
    done = run_job(inputs, tmp_path / "parts")
    assert done.returncode == 0, done.stderr
    parts = contents(tmp_path / "parts")
    assert parts["performance_predictions"].is_empty()
    assert parts["performance_abstentions"].height == 2
    assert "8" in parts["performance_abstentions"]["reason"][0]
    best = parts["recommendations"].filter(pl.col("rank") == 1, pl.col("size_limit_b").is_null())
    assert set(best["model_id"]) == {"Qwen2.5-7B-Instruct"}
    assert set(best["basis"]) == {"observed"}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("results", pl.lit(float("nan")).alias("score"), ["published", "score", "not a number"]),
        ("features", pl.lit(float("inf")).alias("value"), ["published", "not a finite number", "hellaswag"]),
    ],
)
def test_broken_numbers_stop_the_job_with_a_message(
    inputs: Path, tmp_path: Path, name: str, change: pl.Expr, words: list[str]
) -> None:
    rewrite(inputs / "published" / f"{name}.parquet", change)
    done = run_job(inputs, tmp_path / "parts")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
    assert not list((tmp_path / "parts").rglob("*.parquet"))


def test_no_inputs_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    done = run_job(tmp_path / "inputs", tmp_path / "parts", "--targets", json.dumps({"published": ["score"]}))
    assert done.returncode == 1
    assert "materialize parts/performance_inputs first" in done.stderr

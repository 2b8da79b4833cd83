"""The job of the performance model, started as a person would, on the published study's inputs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import polars as pl
import pytest

from models_train.jobs.command_line import MOST_PROCESSES, default_processes

JOB = "models_train.jobs.fit_performance_model"
PUBLISHERS = ("Alibaba", "Google", "Meta", "Mistral AI", "THI")


def run_job(inputs: Path, parts: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", JOB, "--inputs", str(inputs), "--parts", str(parts), "--bootstraps", "50"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def inputs(home: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "inputs"
    shutil.copytree(home / "inputs" / "performance", folder)
    return folder


def rewrite(path: Path, change: pl.Expr) -> None:
    pl.read_parquet(path).with_columns(change).write_parquet(path)


def contents(parts: Path) -> dict[str, pl.DataFrame]:
    return {path.parent.parent.name: pl.read_parquet(path) for path in sorted(parts.rglob("*.parquet"))}


def make_small(study: Path) -> None:
    """Keep five publishers, five features and one objective: enough for the job, and quick."""
    models = pl.read_parquet(study / "models.parquet").filter(pl.col("publisher").is_in(PUBLISHERS))
    models.write_parquet(study / "models.parquet")
    few = pl.col("feature").is_in(["mmlu", "leaderboard_ifeval", "params_b", "log10_params", "tokens_t"])
    for name, kept in (("features", few), ("results", pl.col("objective") == "regression")):
        path = study / f"{name}.parquet"
        pl.read_parquet(path).filter(kept, pl.col("model_id").is_in(models["model_id"].to_list())).write_parquet(path)


def add_candidate(study: Path, name: str, *, like: str, with_features: bool = True) -> None:
    """List a model without a result, with the size and the features of another one."""
    for table in ("models", "features") if with_features else ("models",):
        frame = pl.read_parquet(study / f"{table}.parquet")
        new = frame.filter(model_id=like).with_columns(pl.lit(name).alias("model_id"))
        pl.concat([frame, new]).write_parquet(study / f"{table}.parquet")


def test_the_same_inputs_give_the_same_parts_whatever_the_number_of_processes(inputs: Path, tmp_path: Path) -> None:
    make_small(inputs / "published")
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
    ("target", "reason"),
    [
        ("chat", "no performance model of the score was fitted: score is not among the predicted targets"),
        ("score", "no performance model of the score was fitted: study published: "),
    ],
)
def test_a_candidate_is_listed_with_the_reason_where_no_score_was_fitted(
    inputs: Path, tmp_path: Path, target: str, reason: str
) -> None:
    study = inputs / "published"
    few = pl.read_parquet(study / "results.parquet").filter(pl.col("model_id").str.starts_with("Qwen2.5"))
    few.write_parquet(study / "results.parquet")
    add_candidate(study, "New-7B", like="Qwen2.5-7B-Instruct")
    done = run_job(inputs, tmp_path / "parts", "--targets", json.dumps({"published": [target]}))
    assert done.returncode == 0, done.stderr
    rows = contents(tmp_path / "parts")["recommendations"].filter(model_id="New-7B")
    assert rows.height == 6, "7.6 B parameters: limits 8, 10 and none, two objectives"
    numbers = ("rank", "expected_score", "interval_low", "interval_high", "probability_best")
    assert rows.select(pl.col(*numbers).is_null().all()).row(0) == (True,) * len(numbers)
    for found in rows["reason"]:
        assert found.startswith(f"No recommendation: {reason}"), found
        assert found.endswith(".") and not found.endswith("..")


def test_every_model_is_measured_predicted_or_abstained_from(inputs: Path, tmp_path: Path) -> None:
    study = inputs / "published"
    make_small(study)
    add_candidate(study, "New-3B", like="Qwen2.5-3B-Instruct")
    add_candidate(study, "Bare-3B", like="Qwen2.5-3B-Instruct", with_features=False)
    failed = pl.col("model_id") == "Qwen2.5-3B-Instruct"
    rewrite(study / "results.parquet", pl.when(~failed).then("score").alias("score"))
    done = run_job(inputs, tmp_path / "parts", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    rows = contents(tmp_path / "parts")["recommendations"].filter(pl.col("size_limit_b").is_null())
    assert sorted(rows["model_id"]) == sorted(pl.read_parquet(study / "models.parquet")["model_id"])
    predicted = rows.filter(basis="predicted").select("model_id", pl.col("expected_score").is_not_null())
    assert dict(predicted.iter_rows()) == {"New-3B": True, "Qwen2.5-3B-Instruct": True, "Bare-3B": False}
    (reason,) = rows.filter(model_id="Bare-3B")["reason"]
    assert reason == "No recommendation: none of its features is known."


def test_no_more_processes_than_the_machine_lends(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("LOKY_MAX_CPU_COUNT", "1")
        assert default_processes() == 1
    monkeypatch.setattr(joblib, "cpu_count", lambda: 64)
    assert default_processes() == MOST_PROCESSES == 8


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

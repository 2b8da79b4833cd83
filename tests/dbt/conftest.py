"""Fixtures of the tests of dbt's models: the published study beside one that is partly trained, built once by dbt."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from dagster_project.environment import SEEDS
from dagster_project.lib.study_plan import write_study_parts
from models_train.parts import write_part
from models_train.study.reward_ids import trained_reward_id
from models_train.study.run_noise import RunNoise
from tests.support.leaderboard_files import BEAVER
from tests.support.programs import SHIPPED_STUDIES
from tests.support.reward_parts import write_rewards
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = {"alpha": 1.0, "beta": 2.0, "gamma": 4.0, "delta": 5.0, "echo": 8.0}
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
ERRORS = ("hep-go", "hep-rust", "donotanswer")

Rewards = dict[tuple[str, str], pl.DataFrame]
"""By model and objective: subset, item_id, chosen, rejected; NaN where a completion has no reward."""


def subsets() -> list[dict[str, Any]]:
    with open(SEEDS / "rewardbench_subsets.csv", newline="") as file:
        return [
            {"category": row["category"], "subset": row["subset"], "n": int(row["n_examples"]), "w": int(row["weight"])}
            for row in csv.DictReader(file)
        ]


def pairs(skill: float, seed: int, kept: Any = lambda row: True) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    frames = []
    for row in filter(kept, subsets()):
        chosen = np.round(rng.normal(skill, 1, row["n"]), 1)
        rejected = np.round(rng.normal(0, 1, row["n"]), 1)  # to one digit: there are ties
        ids = [str(number) for number in range(row["n"])]
        frames.append(
            pl.DataFrame({"item_id": ids, "chosen": chosen, "rejected": rejected}).with_columns(
                subset=pl.lit(row["subset"])
            )
        )
    return pl.concat(frames)


@pytest.fixture(scope="session")
def rewards() -> Rewards:
    """alpha and beta whole; gamma with three failed pairs; delta with a part of RewardBench; echo with nothing."""
    failed = pl.col("subset").is_in(ERRORS) & (pl.col("item_id") == "3")
    part = {"math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"}
    llmbar = pairs(0.5, 5, lambda row: row["subset"] in part or row["subset"].startswith("llmbar"))
    return {
        ("alpha", "bradley_terry"): pairs(0.5, 1),
        ("beta", "bradley_terry"): pairs(0.8, 2),
        ("gamma", "bradley_terry"): pairs(0.9, 3).with_columns(
            chosen=pl.when(failed).then(float("nan")).otherwise("chosen")
        ),
        ("alpha", "regression"): pairs(0.7, 4),
        ("delta", "regression"): llmbar,
    }


def completion_rows(frame: pl.DataFrame, model_id: str, objective: str) -> pl.DataFrame:
    long = frame.unpivot(
        on=["chosen", "rejected"], index=["subset", "item_id"], variable_name="completion", value_name="reward"
    ).with_columns(
        pl.lit(trained_reward_id(model_id, objective)).alias("reward_id"),
        pl.lit("rewardbench").alias("benchmark"),
        pl.when(pl.col("reward").is_nan())
        .then(pl.lit("the response is empty"))
        .otherwise(pl.lit("ok"))
        .alias("status"),
        pl.col("reward").fill_nan(None),
        pl.lit(100).alias("n_tokens"),
        pl.lit(False).alias("is_truncated"),
        pl.lit(None, pl.String).alias("source"),
    )
    if objective == "bradley_terry":
        return long.with_columns(pl.lit("reward").alias("attribute"))
    # The attributes say the opposite of what they merge to: only the merged reward may count.
    attributes = [long.with_columns(pl.lit(name).alias("attribute"), -pl.col("reward")) for name in ATTRIBUTES]
    return pl.concat([*attributes, long.with_columns(pl.lit("merged").alias("attribute"))])


def study_rows() -> dict[str, list[dict[str, Any]]]:
    models = [
        {
            "model_id": name,
            "hub_id": f"a/{name}",
            "revision": None,
            "publisher": f"publisher {name}",
            "family": name,
            "params_b": params_b,
            "tokens_t": 1.0,
            "stage": "instruct",
            "parent_model_id": None,
            "is_compared": True,
            "is_candidate": False,
            "licence": None,
            "downloads": None,
        }
        for name, params_b in MODELS.items()
    ]
    groups = (("small", 1, 0.0, 3.0, "alpha"), ("large", 2, 3.0, None, "echo"))
    names = ("size_group", "position", "params_b_from", "params_b_below", "default_model_id")
    noise = [
        {"objective": objective, "category": target, "standard_deviation": deviation, "basis": "twins"}
        for objective, target, deviation in RunNoise().rows()
    ]
    return {
        "run_noise": noise,
        "studies": [
            {"title": "Yours", "synthetic": False, "source": "a test", "use_loose_benchmarks": False, "answer_on": None}
        ],
        "size_groups": [dict(zip(names, group, strict=True)) for group in groups],
        "base_models": models,
        "benchmarks": BENCHMARKS,
        "study_seeds": [],
    }


BENCHMARKS = [
    {
        "benchmark": name, "framework": framework, "topic": topic, "task": name, "metric": metric, "shots": None,
        "is_run": framework == "lm_eval",
    }
    for name, framework, topic, metric in (
        ("own", "lm_eval", "Math", "acc_norm_pct"),
        ("HumanEval", "evalplus", "Coding", "pass@1_pct"),
    )
]  # fmt: skip


def result_row(written_by: str, model_id: str, benchmark: str, metric: str, value: float) -> dict[str, Any]:
    return {
        "written_by": written_by, "model_id": model_id, "benchmark": benchmark, "metric": metric, "value": value,
        "standard_error": 4.0, "n_examples": 100, "shots": "0", "match": "exact", "source": f"{written_by}, 1",
        "pipeline": f"lm_eval, {benchmark} 1, 0-shot, {metric}",
    }  # fmt: skip


RESULTS = (
    result_row("run of beta", "beta", "own", "acc_norm_pct", 60.0),
    result_row("imports", "alpha", "own", "acc_norm_pct", 50.0),
    # Run here, too; another metric than the one stated; a benchmark that is not listed: none of them counts.
    result_row("imports", "beta", "own", "acc_norm_pct", 55.0),
    result_row("imports", "gamma", "own", "acc_pct", 70.0),
    result_row("imports", "alpha", "mmlu", "acc_pct", 80.0),
    result_row("imports", "alpha", "HumanEval", "pass@1_pct", 30.0),
)


RUNS = (
    ("1e-06-s0", 1e-6, 0, 1000, "finished"),
    ("5e-06-s0", 5e-6, 0, 30, "stopped"),
    ("9e-06-s0", 9e-6, 0, 0, "failed"),
)


def training_rows() -> dict[str, list[dict[str, Any]]]:
    own = {"model_id": "alpha", "objective": "bradley_terry"}
    device = {"device_seconds": 7200.0, "device": "Some GPU", "n_devices": 2, "peak_memory_bytes": 3 * 2**30}
    runs = [
        own
        | device
        | {name: 1 for name in ("n_examples", "n_examples_dropped", "n_examples_truncated", "n_tokens")}
        | dict.fromkeys(("hub_id", "revision", "recipe_hash", "data_hash", "precision", "versions"), "x")
        | {"training_run": run, "learning_rate": rate, "seed": seed, "n_steps": n_steps, "n_steps_planned": 1000}
        | {"status": status, "reason": None if status == "finished" else "a reason", "is_selected": rate == 1e-6}
        for run, rate, seed, n_steps, status in RUNS
    ]
    steps = [
        own
        | {"training_run": run, "step": step, "loss": 1 / step, "gradient_norm": 2.0 + step % 2, "learning_rate": rate}
        | {"n_examples": 64 if step % 5 else 32, "n_tokens": 10, "seconds": 1.0}
        for run, rate, _, n_steps, _ in RUNS
        for step in range(1, n_steps + 1)
    ]
    won = {("1e-06-s0", 20): 50, ("1e-06-s0", 40): 70, ("1e-06-s0", 60): 70, ("5e-06-s0", 20): 60}
    nothing = dict.fromkeys((*(f"weight_{name}" for name in ATTRIBUTES), "n_optima", "mean_margin"))
    checkpoints = [
        own
        | nothing
        | {"training_run": run, "step": step, "validation_accuracy": n_won / 100, "validation_loss": 1 / step}
        | {"n_won": n_won, "n_ties": 0, "n_pairs": 100, "is_selected": step == 60}
        for (run, step), n_won in won.items()
    ]
    search = own | {
        "method": "successive_halving", "training_run": "1e-06-s0", "step": 60, "learning_rate": 1e-6,
        "validation_accuracy": 0.7, "accuracy_choosing_half": 0.72, "accuracy_other_half": 0.69,
        "accuracy_mean_rate": 0.66, "accuracy_best_rate": 0.7,
        "optimism_points": 3.0, "n_steps": 1030, "n_steps_full_grid": 3000, "path": "reward_models/x",
        "status": "finished", "reason": None,
    }  # fmt: skip
    return {
        "reward_model_runs": runs,
        "reward_model_steps": steps,
        "reward_model_checkpoints": checkpoints,
        "reward_model_searches": [search],
    }


def leaderboard_rows() -> list[dict[str, Any]]:
    """The example of reward-bench's README, one that lacks a subset, a merge, a judge, and one that was looked up."""
    shares = {key: 100 * value for key, value in BEAVER.items() if isinstance(value, int | float)}
    part = {key: value for key, value in shares.items() if key != "hep-go"}
    common = {
        "leaderboard": "Board",
        "snapshot_date": "2024-12-01",
        "model_type": None,
        "is_judge": False,
        "source": "x",
    }
    rows = [
        ("PKU-Alignment/beaver-7b-v1.0-cost", None, shares, "model", "unknown", "unknown"),
        ("org/part", None, part, "model", "Llama-3.x", "name"),
        ("org/merge", 50.0, {}, "merge", "Llama-3.x + Mistral", "card"),
        ("openai/judge", 90.0, {}, "judge", "unknown", "unknown"),
        ("Nexusflow/Starling-RM-34B", 80.0, {}, "model", "unknown", "unknown"),
    ]
    return [
        common
        | {"entry": entry, "score": score, "categories": json.dumps(results), "kind": kind, "base_model": None}
        | {"base_family": family, "base_source": source}
        for entry, score, results, kind, family, source in rows
    ]


def cost_row(job: str, variant: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "model_id": "alpha", "job": job, "variant": variant, "n_tokens": 1000, "device_seconds": seconds,
        "device": "Some GPU", "n_devices": 2, "is_gpu": True, "peak_memory_bytes": 3 * 2**30, "versions": "{}",
    } | more  # fmt: skip


COSTS = (
    cost_row("train_reward_model", "bradley_terry", 7200.0),
    cost_row("score_documents", "packed", 1800.0, device="cpu", n_devices=1, is_gpu=False, peak_memory_bytes=None),
)


def dbt(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "REWARDBASE_HOME": str(home.root),
        "DBT_TARGET_PATH": str(home.dbt_target),
        "DBT_LOG_PATH": str(home.dbt_logs),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        # Of a selection only tests whose tables are all selected: others may not be there.
        "DBT_INDIRECT_SELECTION": "cautious",
    }
    folder = str(REPOSITORY / "dbt")
    command = [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", *arguments]
    return subprocess.run(
        [*command, "--project-dir", folder, "--profiles-dir", folder],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def partly_trained(rewards: Rewards, made_once: Callable[..., Path]) -> Home:
    """A warehouse of the published studies and of one that is partly trained, built by dbt with all of its tests."""
    return Home(made_once("partly_trained", lambda folder: build_partly_trained(Home(folder).ensure(), rewards)))


def build_partly_trained(home: Home, rewards: Rewards) -> None:
    write_study_parts(SHIPPED_STUDIES, SEEDS, home.parts, leave_out=("lab",))
    for name, rows in (study_rows() | training_rows()).items():
        write_part(home.parts, TABLES[name], rows, study_id="yours", run_id="run")
    for name, rows in training_rows().items():
        # beta was trained, then failed with other settings: curve and checkpoints of the earlier search are left over.
        left_over = name in ("reward_model_steps", "reward_model_checkpoints")
        again = [row | {"model_id": "beta"} | ({} if left_over else {"status": "failed"}) for row in rows]
        write_part(home.parts, TABLES[name], again, study_id="yours", run_id="old" if left_over else "new")
    for (model_id, objective), frame in rewards.items():
        completions, run_id = completion_rows(frame, model_id, objective), f"{model_id}-{objective}"
        write_rewards(home.parts, model_id, objective, completions, study_id="yours", run_id=run_id)
    for writer in {row["written_by"] for row in RESULTS}:
        rows = [row for row in RESULTS if row["written_by"] == writer]
        run_id = writer.replace(" ", "-")
        write_part(home.parts, TABLES["benchmark_results"], rows, study_id="yours", run_id=run_id)
    write_part(home.parts, TABLES["leaderboard_entries"], leaderboard_rows(), study_id="yours", run_id="boards")
    for row in COSTS:
        write_part(home.parts, TABLES["run_costs"], [row], study_id="yours", run_id=row["job"])
    planned = {"model_id": COSTS[1]["model_id"], "job": "score_documents", "variant": "packed", "basis": "scaled"}
    planned |= {"device_seconds": 2250.0, "device_seconds_low": 1800.0, "device_seconds_high": 2700.0}
    write_part(home.parts, TABLES["planned_costs"], [planned], study_id="yours", run_id="planned")
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = dbt(home, "build")
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="session")
def run_dbt() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs dbt on a home: `run_dbt(home, "build", ...)`."""
    return dbt


@pytest.fixture
def warehouse(partly_trained: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(partly_trained.warehouse), read_only=True) as connection:
        yield connection

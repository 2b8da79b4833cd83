"""Marts of rewards on responses: 40 reward models x 5 policies x 500 prompts x 16 responses, 1.6 million rewards.

Run by `make bench`. Times are those of dbt's nodes, as in `test_bench_document_marts.py`.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from tests.benchmarks.test_bench_benchmark_scores import insert
from tests.benchmarks.test_bench_document_marts import dbt
from warehouse import landing
from warehouse.connection import Connection, write
from warehouse.paths import Home

pytestmark = pytest.mark.bench

N_BASES, N_POLICIES, N_PROMPTS, N_RESPONSES = 10, 5, 500, 16
LIMITS = {0: 20.0, 1000: 60.0}
"""Seconds of all nodes on 2 cores, by number of resamples."""
BEFORE = (
    "rewardbench_subsets", "stg_policies", "stg_prompts", "stg_responses", "stg_response_rewards", "stg_gold_rewards",
    "stg_reward_sources", "stg_teacher_settings", "+fct_benchmark_scores",
)  # fmt: skip
EVERYTHING = (
    "int_deciding_attributes", "int_measured_responses", "int_rewarded_responses", "int_response_arrays",
    "int_teacher_properties",
    "int_best_of_n", "int_overoptimisation", "int_ensembles", "int_reward_uncertainty", "fct_teacher_properties",
    "fct_best_of_n", "fct_overoptimisation", "fct_ensembles", "fct_reward_uncertainty",
)  # fmt: skip

RESPONSE = {"text": "x", "content_hash": "x", "finish_reason": "stop"}


def sources() -> pl.DataFrame:
    """Ten bases x two objectives x two seeds: 20 ensembles over seeds, 2 over bases, 10 over objectives."""
    rows = [
        (f"m{base}/{objective}{'/s1' if seed else ''}", f"m{base}", objective, seed)
        for base in range(N_BASES)
        for objective in ("bradley_terry", "regression")
        for seed in range(2)
    ]
    return pl.DataFrame(rows, schema=["reward_id", "model_id", "objective", "seed"], orient="row").with_columns(
        pl.lit("trained").alias("kind"),
        pl.when(pl.col("objective") == "regression")
        .then(pl.lit("mean_score"))
        .otherwise(pl.lit("logit"))
        .alias("scale"),
        pl.col("model_id").alias("base_model"),
    )


def make(home: Home) -> None:
    """A warehouse of five policies, each response with a reward of every reward model and the gold."""
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
        listed = sources()
        gold = pl.DataFrame({"reward_id": ["gold"], "kind": ["function"], "scale": ["bounded"]})
        insert(connection, "reward_sources", pl.concat([listed, gold], how="diagonal"))
        insert(connection, "gold_rewards", pl.DataFrame({"gold_id": ["gold"], "kind": ["lab"]}))
        settings = {"best_of": [1, 2, 4, 8, 16], "ensembles": [{"over": o} for o in ("seeds", "bases", "objectives")]}
        values = [json.dumps(value) for value in settings.values()]
        insert(connection, "teacher_settings", pl.DataFrame({"setting": list(settings), "value": values}))
        prompts = pl.DataFrame({"prompt_id": [f"{place:04d}" for place in range(N_PROMPTS)]}).with_columns(
            pl.lit("prompts").alias("prompt_set"),
            pl.lit("measure").alias("split"),
            *(pl.lit(1).alias(name) for name in ("n_turns", "n_bytes", "order_no")),
            *(pl.lit("x").alias(name) for name in ("content_hash", "source")),
        )
        insert(connection, "prompts", prompts)
        for policy in range(N_POLICIES):
            insert_policy(connection, f"policy {policy}", listed["reward_id"].to_list(), policy)


def insert_policy(connection: Connection, policy_id: str, reward_ids: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (N_PROMPTS, N_RESPONSES)
    prompt, number = (places.ravel() for places in np.indices(shape))
    cells = pl.DataFrame({"prompt_id": [f"{place:04d}" for place in prompt], "response_no": number}).with_columns(
        pl.lit(policy_id).alias("policy_id"), pl.lit("prompts").alias("prompt_set"), pl.lit("ok").alias("status")
    )
    insert(connection, "policies", pl.DataFrame({"policy_id": [policy_id], "kind": ["sampled"]}))
    lengths = rng.integers(10, 2000, prompt.size)
    texts = (pl.lit(name).alias(column) for column, name in RESPONSE.items())
    insert(connection, "responses", cells.with_columns(pl.Series("n_bytes", lengths), *texts))
    gold = rng.normal(size=shape) + rng.normal(size=(N_PROMPTS, 1))
    for place, reward_id in enumerate([*reward_ids, "gold"]):
        noise = rng.normal(size=shape) * (0 if reward_id == "gold" else 0.5 + place / 20)
        own = cells.with_columns(
            pl.Series("reward", np.float32(gold + noise).astype(np.float64).ravel()),
            pl.lit(reward_id).alias("reward_id"),
            pl.lit("reward").alias("attribute"),
            pl.lit(False).alias("is_truncated"),
        )
        insert(connection, "response_rewards", own)


def test_marts_of_forty_rewards_on_five_policies(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").ensure()
    make(home)
    dbt(home, *BEFORE)
    seconds = {}
    for resamples, limit in LIMITS.items():
        nodes, whole, processors = dbt(home, *EVERYTHING, "--vars", json.dumps({"teacher_resamples": resamples}))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(
            f"\n4 x {N_BASES} rewards x {N_POLICIES} policies x {N_PROMPTS} prompts x {N_RESPONSES} responses, "
            f"{resamples} resamples: {nodes:.1f} s (limit {limit:.0f} s); the whole command {whole:.1f} s, "
            f"{processors:.1f} s of processors; {peak:.1f} GiB"
        )
        with duckdb.connect(str(home.warehouse), read_only=True) as connection:
            counted = connection.execute(
                "select count(*), count(reward_variance_low) from marts.fct_teacher_properties"
            ).fetchone()
        assert counted == (41 * N_POLICIES, 41 * N_POLICIES if resamples else 0)
        assert peak < 4
        seconds[resamples] = nodes
    assert all(seconds[resamples] <= limit for resamples, limit in LIMITS.items())

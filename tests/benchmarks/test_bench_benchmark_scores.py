"""Marts of rewards on benchmarks: 40 rewards x 5 benchmarks x 3,000 items, 2.9 million rewards, by dbt.

Run by `make bench`. Times are those of dbt's nodes, as in `test_bench_document_marts.py`.
"""

from __future__ import annotations

import resource
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from tests.benchmarks.test_bench_document_marts import dbt
from tests.dbt.conftest import subsets
from warehouse import landing
from warehouse.connection import Connection, write
from warehouse.paths import Home

pytestmark = pytest.mark.bench

N_REWARDS, N_ITEMS = 40, 3000
LIMIT = 10.0
"""Seconds of all nodes on 2 cores."""
SHAPES = {"rewardbench": (1, 1), "rewardbench2": (1, 3), "rewardmath": (1, 9), "rm_bench": (3, 3), "judgebench": (1, 1)}
NAMES = {
    "rewardbench2": ("Factuality", "Precise IF", "Math", "Safety", "Focus"),
    "rewardmath": ("rewardmath",),
    "rm_bench": ("chat", "code", "math", "safety-refuse", "safety-response"),
    "judgebench": ("mmlu-pro", "livebench-reasoning", "livebench-math", "livecodebench"),
}
BEFORE = (
    "rewardbench_subsets", "stg_studies", "stg_rewardbench_subsets", "stg_reward_sources", "stg_benchmark_items",
    "stg_item_completions", "stg_completion_rewards",
)  # fmt: skip
EVERYTHING = (
    "int_benchmark_completions", "int_benchmark_subsets", "int_scored_benchmarks", "int_reward_arrays",
    "int_subset_scores", "int_reward_variances", "int_score_comparisons", "int_shared_errors",
    "int_family_preferences", "fct_benchmark_scores", "fct_benchmark_score_differences", "fct_benchmark_groups",
    "fct_benchmark_rank_correlations", "fct_error_correlations", "fct_herding", "fct_family_preference",
)  # fmt: skip


def make(home: Home, lacking: float) -> None:
    """A warehouse with rewards on five benchmarks. lacking: share of rewards that failed."""
    rng = np.random.default_rng(0)
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
        sources = pl.DataFrame({"reward_id": [f"rm{place:02d}" for place in range(N_REWARDS)]}).with_columns(
            pl.lit("hub").alias("kind"),
            pl.lit("logit").alias("scale"),
            pl.Series("base_model", [f"base {place % 8}" for place in range(N_REWARDS)]),
            pl.Series("family", [f"family {place % 4}" for place in range(N_REWARDS)]),
            pl.Series("data_id", [f"data {place % 5}" for place in range(N_REWARDS)]),
        )
        insert(connection, "reward_sources", sources)
        for benchmark, (n_right, n_wrong) in SHAPES.items():
            cells = completions(benchmark, n_right, n_wrong)
            insert(connection, "item_completions", cells)
            items = cells.filter(place=1).select("benchmark", "subset", "item_id")
            counts = pl.lit(n_right + n_wrong).alias("n_completions"), pl.lit(n_right).alias("n_correct")
            insert(connection, "benchmark_items", items.with_columns(*counts))
            for place, reward_id in enumerate(sources["reward_id"]):
                skill = cells["is_correct"].to_numpy() * (1 + place / N_REWARDS)
                rewards = rng.normal(skill)
                status = np.where(rng.random(rewards.size) < lacking, "the response is empty", "ok")
                rows = cells.select("benchmark", "subset", "item_id", "completion").with_columns(
                    pl.lit(reward_id).alias("reward_id"),
                    pl.lit("reward").alias("attribute"),
                    pl.Series("reward", rewards),
                    pl.lit(False).alias("is_truncated"),
                    pl.Series("status", status),
                )
                insert(connection, "completion_rewards", rows)


def completions(benchmark: str, n_right: int, n_wrong: int) -> pl.DataFrame:
    names = (
        [row["subset"] for row in subsets() for _ in range(row["n"])]
        if benchmark == "rewardbench"
        else [NAMES[benchmark][place % len(NAMES[benchmark])] for place in range(N_ITEMS)]
    )
    n = n_right + n_wrong
    whole = np.arange(len(names) * n)
    return pl.DataFrame({"subset": np.repeat(names, n), "item_id": (whole // n).astype(str)}).with_columns(
        pl.lit(benchmark).alias("benchmark"),
        pl.Series("completion", [f"completion_{place}" for place in whole % n]),
        pl.Series("place", whole % n + 1),
        pl.Series("is_correct", whole % n < n_right),
        pl.Series("generator_family", [f"family {place % 4}" for place in whole % n]),
    )


def insert(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    frame = rows.with_columns(pl.lit("s").alias("study_id"), pl.lit("made").alias("run_id")).to_arrow()
    connection.register("frame", frame)
    connection.execute(f"insert into raw.{table} by name select * from frame")
    connection.unregister("frame")


@pytest.mark.parametrize("lacking", [0.0, 0.0005])
def test_marts_of_forty_rewards_on_five_benchmarks(tmp_path: Path, lacking: float) -> None:
    home = Home(tmp_path / "home").ensure()
    make(home, lacking)
    dbt(home, *BEFORE)
    nodes, whole, processors = dbt(home, *EVERYTHING)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(
        f"\n{N_REWARDS} rewards x {len(SHAPES)} benchmarks x {N_ITEMS:,} items, {lacking:.2%} failed: {nodes:.1f} s "
        f"(limit {LIMIT:.0f} s); the whole command {whole:.1f} s, {processors:.1f} s of processors; {peak:.1f} GiB"
    )
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        counted = connection.execute("select count(*) from marts.fct_error_correlations").fetchone()
        assert counted == (len(SHAPES) * N_REWARDS * (N_REWARDS - 1) // 2,)
    assert peak < 4
    assert nodes <= LIMIT

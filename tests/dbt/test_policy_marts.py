"""Marts of policies and their responses, against Polars on the parts of a sampling and an import."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl

from dagster_project.environment import SEEDS
from dagster_project.lib.study_plan import write_study_parts
from models_train.jobs import import_responses, sample_responses
from tests.support.response_studies import arguments, rows, sampling_study, write_json
from warehouse import landing
from warehouse.connection import write
from warehouse.paths import Home

STAGING = (
    "policies",
    "prompts",
    "responses",
    "response_rewards",
    "gold_rewards",
    "run_costs",
    "reward_sources",
    "completion_rewards",
)


def test_each_policy_has_a_row_for_each_split(
    run_dbt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    home = Home(tmp_path / "home").ensure()
    (tmp_path / "studies").mkdir()
    path = sampling_study(tmp_path / "studies", responses=9, max_tokens=2, temperature=0.3)
    answers = [{"instruction": "Say hi.", "output": text, "generator": "gpt4"} for text in ("Hi.", "Hi.", "")]
    write_json(tmp_path / "studies" / "out.json", answers)
    more = "\n  responses:\n  - {path: out.json, format: alpaca_eval}\n"
    path.write_text(path.read_text().rstrip() + more)
    write_study_parts(tmp_path / "studies", SEEDS, home.parts)
    sample_responses.main(arguments(path, home=home.root))
    import_responses.main(["--study", str(path), "--home", str(home.root)])
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    staging = [f"stg_{name}" for name in STAGING]
    done = run_dbt(home, "build", "--select", *staging, "dim_policies", "fct_policy_responses")
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        kinds = connection.execute("select policy_id, kind from marts.dim_policies order by all").fetchall()
        found = connection.execute("select * from marts.fct_policy_responses order by policy_id, split").pl()
    assert kinds == [("out:gpt4", "imported"), ("tiny-policy", "sampled")]
    imported, measure, teach = found.to_dicts()
    assert (imported["n"], imported["n_empty"], imported["share_finished"]) == (3, 1, None)
    assert imported["share_distinct"] == 2 / 3 and imported["mean_gold"] is None
    responses = rows(home.root, "responses").join(rows(home.root, "prompts"), on=["prompt_set", "prompt_id"])
    for row in (measure, teach):
        mine = responses.filter(policy_id="tiny-policy", split=row["split"])
        distinct = mine.group_by("prompt_id").agg(share=pl.col("text").n_unique() / pl.len())["share"].mean()
        assert row["n_prompts"] == mine["prompt_id"].n_unique() and row["n"] == mine.height
        assert abs(row["share_distinct"] - distinct) < 1e-12
        assert abs(row["share_finished"] - (mine["finish_reason"] == "stop").mean()) < 1e-12
        assert abs(row["mean_tokens"] - mine["n_tokens"].mean()) < 1e-12

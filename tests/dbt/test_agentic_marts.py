"""The mart of what checks add, against pairs and prompts worked out one by one, and with weight 0."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest

from dagster_project.environment import SEEDS
from dagster_project.lib.study_plan import write_study_parts
from models_train.jobs import agentic_rewards, gold_rewards, import_responses, import_scores
from models_train.teachers.agentic import chooses
from tests.models_train.jobs.test_agentic_rewards import N, rows, study
from warehouse import landing
from warehouse.connection import write
from warehouse.paths import Home

TABLES = (
    "benchmark_items", "item_completions", "completion_rewards", "completion_checks", "reward_sources", "policies",
    "prompts", "responses", "response_rewards", "response_checks", "gold_rewards", "teacher_settings",
    "agentic_weights", "agentic_fits",
)  # fmt: skip
AGENTIC = {
    "rewards": [
        {"reward": "hub:RM", "weights": {"ends_with_stop": 2.0, "short": 0.0}},
        {"reward": "hub:RM", "reward_id": "agentic:none", "weights": {"short": 0.0}},
        {"reward": "hub:RM", "reward_id": "agentic:fit", "fit": {"checks": ["ends_with_stop"], "grid": [0.0, 3.0]}},
        {"reward": "mine", "weights": {"ends_with_stop": 10.0}},
    ],
    "checks": [{"name": "short", "kind": "length", "at_most": 7}],
}


@pytest.fixture(scope="module")
def built(
    run_dbt: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("agentic")
    home = Home(folder / "studies" / "home").ensure()
    path = study(folder / "studies", AGENTIC)
    write_study_parts(folder / "studies", SEEDS, home.parts)
    for job in (import_scores, import_responses, gold_rewards, agentic_rewards):
        job.main(["--study", str(path), "--home", str(home.root)])
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    staging = [f"stg_{name}" for name in TABLES]
    done = run_dbt(home, "build", "--select", *staging, "+fct_agentic_gains", "fct_agentic_fits")
    assert done.returncode == 0, done.stdout
    return folder / "studies", duckdb.connect(str(home.warehouse), read_only=True)


def gain(built: tuple[Path, duckdb.DuckDBPyConnection], reward_id: str) -> dict:
    (row,) = built[1].execute("from marts.fct_agentic_gains where reward_id = ?", [reward_id]).pl().to_dicts()
    return row


def margins(folder: Path, reward_id: str) -> dict[int, float]:
    """Reward of the right completion minus that of the wrong one, by item."""
    found: dict[int, float] = dict.fromkeys(range(N), 0.0)
    for row in rows(folder, "completion_rewards", reward_id=reward_id).to_dicts():
        found[int(row["item_id"])] += row["reward"] if row["completion"] == "correct_1" else -row["reward"]
    return found


def test_the_gain_on_a_benchmark_is_of_the_same_pairs(built: tuple[Path, duckdb.DuckDBPyConnection]) -> None:
    plain = margins(built[0], "hub:RM")
    for name in ("agentic:hub:RM+ends_with_stop+short", "agentic:hub:RM+ends_with_stop+short@ends_with_stop"):
        found, own = gain(built, name), margins(built[0], name)
        won = np.array([[own[item] > 0, plain[item] > 0] for item in plain], dtype=float)
        assert found["value"] == won[:, 0].mean() and found["value_plain"] == won[:, 1].mean()
        assert found["gain"] == pytest.approx(won[:, 0].mean() - won[:, 1].mean())
        assert (found["n"], found["n_better"]) == (N, int((won[:, 0] > won[:, 1]).sum()))
        assert found["low"] <= found["gain"] <= found["high"] and found["metric"] == "accuracy"
        deviation = (won[:, 0] - won[:, 1]).std() / np.sqrt(N)
        assert (found["high"] - found["low"]) / 3.92 == pytest.approx(deviation, rel=0.15)
        assert found["n_checked"] == 2 * N * found["n_checks"] and found["n_not_applicable"] == 0


def test_weight_0_adds_exactly_nothing(built: tuple[Path, duckdb.DuckDBPyConnection]) -> None:
    for name in ("agentic:none", "agentic:hub:RM+ends_with_stop+short@short"):
        found = gain(built, name)
        assert [found[column] for column in ("gain", "low", "high", "n_better", "n_worse")] == [0, 0, 0, 0, 0]
        assert found["value"] == found["value_plain"]


def test_items_that_chose_are_left_out(built: tuple[Path, duckdb.DuckDBPyConnection]) -> None:
    found, plain, own = gain(built, "agentic:fit"), margins(built[0], "hub:RM"), margins(built[0], "agentic:fit")
    rest = [item for item in range(N) if not chooses("level-1", str(item), 0.5)]
    assert (found["n"], found["n_left_out"], found["n_fit_items"]) == (len(rest), N - len(rest), N - len(rest))
    assert found["value"] == np.mean([own[item] > 0 for item in rest])
    assert found["value_plain"] == np.mean([plain[item] > 0 for item in rest])
    points = built[1].execute("select count(*) from marts.fct_agentic_fits where reward_id = 'agentic:fit'").fetchone()
    assert points == (2,) and found["is_fitted"] and found["optimism_points"] is not None


def test_the_gain_on_a_policy_is_gold_of_the_best(built: tuple[Path, duckdb.DuckDBPyConnection]) -> None:
    """The right answer is the only one that ends with a stop, and 10 sd are more than any difference here."""
    found = gain(built, "agentic:mine+ends_with_stop")
    rewards = rows(built[0], "response_rewards", reward_id="mine", status="ok").sort("prompt_id", "response_no")
    pools = np.array(rewards["reward"].to_list()).reshape(9, 3)
    best = (pools.argmax(axis=1) == 0).mean()
    assert (found["n_best_of"], found["n"], found["gold_id"]) == (3, 9, "people")
    assert found["value_plain"] == pytest.approx(best) and found["value"] == 1.0
    assert found["place"] == "answers:m, answers, gold: people" and found["n_not_applicable"] == 9

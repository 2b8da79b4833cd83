"""Marts of what policy runs gain, from parts of rewards: scales, pairing, distances, runs that failed; built by dbt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from models_train.parts import content_hash, write_part
from tests.dbt.conftest import dbt
from tests.support.response_parts import Sample, write_samples
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home

pytestmark = pytest.mark.slow
SHAPE = (12, 4)
SHARES = {2: 0.5, 4: 1.0}
LOGPROBS = {2: (-10.0, -10.5), 4: (-10.0, -12.0)}
SHIFT, SCALE = 0.25, 1.5
TEACHERS = ("gold", "gold_flat")


def rewards() -> dict[str, dict[str, np.ndarray]]:
    """By policy and reward: the initial policy, and two saved ones of two seeds; one gold reward is missing."""
    dice = np.random.default_rng(0)
    found = {"p": {name: dice.normal(size=SHAPE) for name in ("r", "gold")}}
    for seed in (0, 1):
        for step, share in SHARES.items():
            found[f"run:r{seed}@{step}"] = {
                "r": dice.normal(size=SHAPE) + 2 * share,
                "gold": dice.normal(size=SHAPE) - share + seed,
            }
    found["run:r0@4"]["gold"][3, 1] = np.nan
    flat = np.where(np.arange(len(found["p"]["gold"])) % 2, 0.001, 1.0)[:, None]
    found["p"]["gold_flat"] = found["p"]["gold"] * flat
    for name, gain in zip(TEACHERS, (1.0, 0.25), strict=True):
        own = found["p"]["gold"] + gain
        found[f"run:{name}@4"] = {"gold": own, "gold_flat": own * flat}
    return found


def build(folder: Path) -> None:
    home = Home(folder).ensure()
    samples = []
    for policy_id, own in rewards().items():
        step = int(policy_id[-1]) if "@" in policy_id else 0
        logprob, reference = LOGPROBS.get(step, (-9.0, None))
        columns = {"logprob": logprob, "reference_logprob": reference, "n_tokens": 10 + step}
        samples.append(Sample(policy_id, own, columns=columns))
    write_samples(home.parts, "toy", samples, {"gold": {"kind": "lab"}})
    for seed, status in ((0, "finished"), (1, "finished"), (2, "failed")):
        run_id = content_hash(seed)
        key = {"policy_run_id": f"r{seed}"}
        put(home, "policy_runs", [run_row(f"r{seed}", seed, status)], run_id)
        saved = [(0, 0.0, "p")]
        if status == "finished":
            saved += [(step, share, f"run:r{seed}@{step}") for step, share in SHARES.items()]
        rows = [key | dict(zip(("step", "share_done", "policy_id"), one, strict=True)) for one in saved]
        put(home, "policy_run_policies", rows, run_id)
    for name in TEACHERS:
        put(home, "policy_runs", [run_row(name, 0, "finished") | {"reward_id": name}], content_hash(name))
        ends = [(0, 0.0, "p"), (4, 1.0, f"run:{name}@4")]
        rows = [
            {"policy_run_id": name, "step": step, "share_done": share, "policy_id": policy}
            for step, share, policy in ends
        ]
        put(home, "policy_run_policies", rows, content_hash(name))
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = dbt(home, "build", "--select", "+fct_policy_gains", "+fct_policy_gain_curves", "+int_lab_teacher_checks")
    assert done.returncode == 0, done.stdout


def put(home: Home, table: str, found: list[dict[str, Any]], run_id: str, study_id: str = "toy") -> None:
    write_part(home.parts, TABLES[table], found, study_id=study_id, run_id=run_id)


def run_row(name: str, seed: int, status: str) -> dict[str, Any]:
    has_failed = status == "failed"
    return {
        "policy_run_id": name, "policy_id": "p", "reward_id": "r", "method": "rloo", "settings": "{}", "seed": seed,
        "n_steps_planned": 4, "n_steps": 4, "n_prompts": 8, "n_responses": 16, "reward_shift": SHIFT,
        "reward_scale": SCALE, "kl_coefficient": 0.05, "final_policy_id": None if has_failed else f"run:{name}@4",
        "device_seconds": 1.0, "status": status, "reason": "no response has a reward" if has_failed else None,
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(made_once: Callable[..., Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(Home(made_once("policy_gain_marts", build)).warehouse), read_only=True) as connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, mart: str, **where: Any) -> list[dict[str, Any]]:
    conditions = " and ".join(f"{column} is not distinct from ${column}" for column in where)
    found: list[dict[str, Any]] = (
        connection.execute(f"select * from marts.{mart} where {conditions} order by all", where).pl().to_dicts()
    )
    return found


def test_properties_are_those_of_policies_that_were_not_trained_here(made: duckdb.DuckDBPyConnection) -> None:
    policies = made.execute("select distinct policy_id from intermediate.int_teacher_properties").fetchall()
    assert policies == [("p",)]


def test_gains_are_scaled_by_the_initial_policy_and_paired_by_prompt(made: duckdb.DuckDBPyConnection) -> None:
    given = rewards()
    gold_scale = np.sqrt(given["p"]["gold"].var() + 1e-8)
    for seed in (0, 1):
        (row,) = rows(made, "fct_policy_gains", scope="run", seed=seed, reward_id="r")
        last = given[f"run:r{seed}@4"]
        assert row["proxy_gain"] == pytest.approx((last["r"] - given["p"]["r"]).mean() / SCALE, abs=1e-9)
        change = np.nanmean(last["gold"], axis=1) - given["p"]["gold"].mean(axis=1)
        assert row["gold_gain"] == pytest.approx(change.mean() / gold_scale, abs=1e-9)
        assert (row["kl"], row["length_change"], row["share_rewarded"]) == (pytest.approx(2.0), 4.0, 1.0)
        assert row["proxy_gain_low"] < row["proxy_gain"] < row["proxy_gain_high"] and row["n_prompts"] == 12
    (pooled,) = rows(made, "fct_policy_gains", scope="pooled", reward_id="r")
    assert (pooled["n_seeds"], pooled["seeds"], pooled["status"]) == (2, "2 seeds", "ok")
    assert pooled["gold_gain_min"] < pooled["gold_gain"] < pooled["gold_gain_max"]
    assert pooled["common_kl"] == pytest.approx(2.0)
    assert pooled["gold_at_common_kl"] == pytest.approx(pooled["gold_gain"])


def test_the_curve_has_each_saved_step(made: duckdb.DuckDBPyConnection) -> None:
    found = rows(made, "fct_policy_gain_curves", scope="pooled", reward_id="r")
    assert [(row["step"], row["share_done"], row["kl"]) for row in found] == [(2, 0.5, 0.5), (4, 1.0, 2.0)]
    (end,) = rows(made, "fct_policy_gains", scope="pooled", reward_id="r")
    assert found[1]["proxy_gain"] == end["proxy_gain"]


def test_a_run_that_failed_has_its_reason(made: duckdb.DuckDBPyConnection) -> None:
    (row,) = rows(made, "fct_policy_gains", policy_run_id="r2")
    assert row["status"] == "failed: no response has a reward" and row["proxy_gain"] is None


def test_the_flat_teacher_is_held_against_the_truth(made: duckdb.DuckDBPyConnection) -> None:
    found = {
        row["statistic"]: row
        for row in made.execute("select * from intermediate.int_lab_teacher_checks").pl().to_dicts()
        if row["model_id"] == "p"
    }
    assert found["on_policy_accuracy"]["value"] == 1 and found["best_of_n_difference"]["value"] <= 1e-12
    assert 0 < found["variance_ratio"]["value"] < 1
    gained = found["rloo_gain_difference"]
    scale = np.sqrt(rewards()["p"]["gold"].var() + 1e-8)
    assert gained["value"] == pytest.approx(-0.75 / scale) and gained["baseline"] == pytest.approx(1 / scale)
    assert gained["low"] == pytest.approx(gained["value"]) and gained["n"] == 12

"""Staging of policies, their responses and rewards: every raw table is there, and broken rows fail dbt's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from models_train.parts import write_part
from tests.dbt.conftest import dbt
from tests.support.response_parts import Sample, write_samples
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.contracts.responses import RESPONSE_TABLES
from warehouse.paths import Home

pytestmark = pytest.mark.slow

MODELS = [f"stg_{name}" for name in RESPONSE_TABLES]
RUN: dict[str, Any] = {
    "policy_run_id": "0123456789ab", "policy_id": "a", "reward_id": "r", "method": "rloo", "settings": "{}", "seed": 0,
    "n_steps_planned": 1, "n_steps": 1, "n_prompts": 2, "n_responses": 4, "reward_shift": 0.0, "reward_scale": 1.0,
    "kl_coefficient": 0.05, "final_policy_id": "b", "device_seconds": 1.0, "status": "finished", "reason": None,
}  # fmt: skip
STEP: dict[str, Any] = {
    "policy_run_id": RUN["policy_run_id"], "step": 1, "proxy_reward": 0.0, "kl": 0.0, "entropy": None, "n_tokens": 8,
    "mean_length": 2.0, "share_finished": 1.0, "gradient_norm": 1.0, "share_groups_without_spread": 0.0, "seconds": 1.0,
}  # fmt: skip
CHECK: dict[str, Any] = {
    "check_name": "math_answer", "policy_id": "a", "prompt_set": "prompts", "prompt_id": "p0000", "response_no": 0,
    "value": 1.0, "detail": None, "seconds": 0.1, "status": "ok",
}  # fmt: skip


BROKEN: dict[str, dict[str, Any]] = {
    "response_checks": {"value": 1.5},
    "policy_run_policies": {"policy_id": "nobody"},
    "policy_run_steps": {"policy_run_id": "unknown"},
    "policy_runs": {"method": "ppo"},
}
"""A check above 1, a policy that is not there, a step of an unknown run, an unknown method."""


def stage(folder: Path) -> None:
    """A warehouse with a row in every table, some of them broken, and what dbt said of it."""
    home = Home(folder).ensure()
    samples = [Sample(name, {"r": [[1.0, 2.0], [0.0, 1.0]], "g": [[0.0, 1.0], [0.0, 1.0]]}) for name in "ab"]
    write_samples(home.parts, "s", samples, {"g": {}})
    saved: dict[str, Any] = {"policy_run_id": RUN["policy_run_id"], "step": 0, "share_done": 0.0}
    own: dict[str, dict[str, Any]] = {
        "policy_runs": RUN,
        "policy_run_steps": STEP,
        "policy_run_policies": saved,
        "response_checks": CHECK,
    }
    for name, row in own.items():
        write_part(home.parts, TABLES[name], [row | BROKEN[name]], study_id="s", run_id="made")
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = dbt(home, "build", "--select", "stg_reward_sources", *MODELS)
    (folder / "said").write_text(done.stdout)


@pytest.fixture(scope="module")
def home(made_once: Callable[..., Path]) -> Home:
    return Home(made_once("response_staging", stage))


@pytest.fixture
def staged(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        yield connection


@pytest.mark.parametrize("name", RESPONSE_TABLES)
def test_every_column_of_a_raw_table_is_staged(staged: duckdb.DuckDBPyConnection, name: str) -> None:
    columns = [column for column in RESPONSE_TABLES[name].schema.names if column != "run_id"]
    found = staged.execute(f"select * from staging.stg_{name}").pl()
    assert [column for column in found.columns if column != "run_id"] == columns and found.height >= 1


def test_broken_rows_are_found_and_no_others(home: Home) -> None:
    failed = [line for line in (home.root / "said").read_text().splitlines() if " FAIL " in line]
    tests = (
        "between_stg_response_checks", "exists_in_stg_policy_run_policies", "exists_in_stg_policy_run_steps",
        "accepted_values_stg_policy_runs",
    )  # fmt: skip
    assert len(failed) == len(tests) and all(any(test in line for line in failed) for test in tests), failed

"""Policy runs are due once what they need is there, and their parts follow the study file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dagster_project.lib.due import gpu_work
from dagster_project.lib.keys import POLICY_RUNS, policy_runs_by_partition
from dagster_project.lib.study_plan import wants
from models_train.errors import UserError
from models_train.study.policy_runs import PolicyRun, policy_run_id, policy_runs, teacher_run_id
from models_train.study.response_parts import responses_of
from models_train.study.study import Study, load_study
from models_train.study.teachers import Method
from tests.dbt.test_policy_gain_marts import put, run_row
from tests.support.response_parts import Sample, write_samples
from tests.support.taught_studies import taught_study
from warehouse.contracts import TABLES
from warehouse.part_files import Value
from warehouse.paths import Home

REWARDS = {"hub:first": np.ones((3, 2)), "hub:merged": np.ones((3, 2))}
METHODS: tuple[Method, ...] = ("rloo", "grpo")
ENSEMBLE = "ensemble:bases/hub:first+hub:merged"


def due(path: Path, study: Study, home: Home) -> list[str]:
    work = gpu_work({path: study}, home)
    assert all(one.assets == (POLICY_RUNS,) for one in work if one.job == "teach_policies")
    return [str(one.partition) for one in work if one.job == "teach_policies"]


def land(home: Home, *rewards: str) -> None:
    found = {name: REWARDS[name] for name in rewards}
    write_samples(home.parts, "scores", [Sample("tiny-policy", found, prompt_set="questions")], {})


def test_a_run_is_due_once_its_policy_has_responses_with_the_rewards_that_scale_it(tmp_path: Path) -> None:
    path = taught_study(tmp_path, method=["rloo"], seeds=[0], rewards=["hub:first", "hub:merged", ENSEMBLE])
    home, study = Home(tmp_path / "home").ensure(), load_study(path)
    keys = [f"scores/tiny-policy/{name}/rloo/s0" for name in ("hub:first", "hub:merged", ENSEMBLE)]
    assert sorted(policy_runs_by_partition(study)) == sorted(keys)
    assert due(path, study, home) == []
    land(home, "hub:first")
    assert due(path, study, home) == keys[:1]
    land(home, "hub:first", "hub:merged")
    assert due(path, study, home) == keys
    (responses,) = responses_of(home.parts, study)
    for run in policy_runs(study):
        run_id = policy_run_id(study, run, responses.run_id, path.parent)
        row: dict[str, Any] = run_row(run_id, 0, "finished") | {"policy_id": "tiny-policy", "reward_id": run.reward_id}
        put(home, "policy_runs", [row], run_id, "scores")
    assert due(path, study, home) == []
    changed = load_study(taught_study(tmp_path, method=["rloo"], seeds=[0], rewards=["hub:first"], kl=0.5))
    assert due(path, changed, home) == keys[:1]


def test_runs_and_their_costs_are_wanted_while_the_study_names_them(tmp_path: Path) -> None:
    study = load_study(taught_study(tmp_path, method=["rloo"], seeds=[0], rewards=["hub:first"]))
    run: dict[str, Value] = {"policy_id": "tiny-policy", "reward_id": "hub:first", "method": "rloo", "seed": 0}
    cost: dict[str, Value] = {"model_id": "tiny-policy", "job": "teach_policy", "variant": "hub:first/rloo/s0"}
    assert wants(study, (), TABLES["policy_runs"], run) and wants(study, (), TABLES["run_costs"], cost)
    changes: tuple[dict[str, Value], ...] = (
        {"seed": 1},
        {"reward_id": "hub:merged"},
        {"method": "grpo"},
        {"policy_id": "other"},
    )
    for change in changes:
        assert not wants(study, (), TABLES["policy_runs"], run | change)
    assert not wants(study, (), TABLES["run_costs"], cost | {"variant": "hub:first/rloo/s1"})
    assert wants(study, (), TABLES["reward_sources"], {"reward_id": ENSEMBLE})


def test_by_default_all_reward_models_teach_all_policies(tmp_path: Path) -> None:
    study = load_study(taught_study(tmp_path, method=["rloo", "grpo"], seeds=[3]))
    assert policy_runs(study) == [
        PolicyRun("tiny-policy", reward, method, 3) for reward in ("hub:first", "hub:merged") for method in METHODS
    ]
    with pytest.raises(UserError, match="'hub:frist' cannot teach a policy; did you mean 'hub:first'"):
        teacher_run_id(study, "hub:frist", tmp_path)

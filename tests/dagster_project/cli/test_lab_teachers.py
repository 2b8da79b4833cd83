"""The long form of the lab's teaching."""

from __future__ import annotations

from pathlib import Path

from dagster_project.cli.lab_teachers import LAB, begin, long_form
from models_train.study.policy_runs import policy_runs, reward_model_ids
from models_train.study.study import load_study


def test_every_reward_model_and_the_truth_teach_every_policy(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(long_form(LAB.read_text()))
    short, long = load_study(LAB), load_study(tmp_path / "lab.yaml")
    runs = policy_runs(long)
    assert short.teachers is not None
    n_policies, n_rewards = len(short.teachers.policies), len(reward_model_ids(short)) + 1
    assert len({run.policy_id for run in runs}) == n_policies and len({run.reward_id for run in runs}) == n_rewards
    assert len(runs) == n_policies * n_rewards * 2 * 3
    shorter = {run.seed for run in policy_runs(short)}
    assert shorter < {run.seed for run in runs} and len(policy_runs(short)) == 12


def test_the_long_form_begins_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "home" / "lab").mkdir(parents=True)
    (tmp_path / "home" / "lab" / "made.json").write_text("{}")
    for _ in range(2):
        begin(tmp_path / "home", tmp_path / "own")
    assert (tmp_path / "own" / "lab" / "made.json").samefile(tmp_path / "home" / "lab" / "made.json")
    assert not (tmp_path / "own" / "parts").exists()

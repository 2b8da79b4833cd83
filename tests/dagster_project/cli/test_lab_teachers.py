"""The long form of the lab's teaching."""

from __future__ import annotations

from pathlib import Path

from dagster_project.cli.lab_teachers import LAB, begin, long_form
from models_train.study.policy_runs import PolicyRun, policy_runs, reward_model_ids
from models_train.study.response_parts import scores_responses
from models_train.study.study import load_study


def runs_of(folder: Path, *, whole: bool) -> list[PolicyRun]:
    (folder / "lab.yaml").write_text(long_form(LAB.read_text(), whole=whole))
    return policy_runs(load_study(folder / "lab.yaml"))


def test_every_reward_model_and_the_truth_teach_the_policy_of_the_lab(tmp_path: Path) -> None:
    lab = load_study(LAB)
    assert lab.teachers is not None and lab.teachers.teach is not None
    runs = runs_of(tmp_path, whole=False)
    assert {run.policy_id for run in runs} == {*(lab.teachers.teach.policies or ())}
    assert [run.reward_id for run in runs] == [*reward_model_ids(lab), "lab"]
    assert {(run.method, run.seed) for run in runs} == {("rloo", 0)} and len(policy_runs(lab)) == 12


def test_the_whole_form_has_all_policies_and_what_the_short_one_has(tmp_path: Path) -> None:
    lab = load_study(LAB)
    assert lab.teachers is not None
    short, whole = runs_of(tmp_path, whole=False), runs_of(tmp_path, whole=True)
    assert set(short) < set(whole)
    assert {run.policy_id for run in whole} == {one.policy_id for one in lab.teachers.policies}
    assert len(whole) == len(lab.teachers.policies) * len(short) * 2 * 3


def test_all_reward_models_score_the_responses(tmp_path: Path) -> None:
    runs_of(tmp_path, whole=False)
    study = load_study(tmp_path / "lab.yaml")
    assert all(scores_responses(study, name) for name in reward_model_ids(study))


def test_the_long_form_begins_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "home" / "lab").mkdir(parents=True)
    (tmp_path / "home" / "lab" / "made.json").write_text("{}")
    for _ in range(2):
        begin(tmp_path / "home", tmp_path / "own")
    assert (tmp_path / "own" / "lab" / "made.json").samefile(tmp_path / "home" / "lab" / "made.json")
    assert not (tmp_path / "own" / "parts").exists()

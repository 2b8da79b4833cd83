"""Rewards with checks are due once the plain rewards are there, and their parts go when the study drops them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.lib import keys
from dagster_project.lib.due import agentic_due, due_work
from dagster_project.lib.study_plan import follow_models
from models_train.jobs import agentic_rewards, gold_rewards, import_responses, import_scores
from models_train.study.fingerprints import LocationError
from models_train.study.study import load_study
from tests.models_train.jobs.test_agentic_rewards import run, study, with_values
from tests.support.score_files import write_lines
from warehouse.contracts import TABLES
from warehouse.part_files import newest_parts
from warehouse.paths import Home

AGENTIC = {"rewards": [{"reward": "hub:RM", "weights": {"ends_with_stop": 1.0, "not_empty": 0.0}}]}
OTHER = {"rewards": [{"reward": "hub:RM", "weights": {"ends_with_stop": 2.0}}]}


def due(folder: Path, home: Home) -> bool:
    return any(keys.AGENTIC_REWARDS in work.assets for work in due_work(home, folder).before_gpu)


def parts(home: Home, table: str, name: str) -> list[str]:
    return sorted({str(dict(part.partition)[name]) for part in newest_parts(home.parts, TABLES[table])})


def test_checks_are_due_after_the_plain_rewards_and_again_with_other_weights(tmp_path: Path) -> None:
    home, path = Home(tmp_path / "home").ensure(), study(tmp_path, AGENTIC)
    run(path, (import_responses,))
    assert due(tmp_path, home), "what the rewards are can be said at once"
    run(path, (import_scores, gold_rewards))
    assert due(tmp_path, home) and agentic_due({path: load_study(path)}, home)
    run(path, (agentic_rewards,))
    assert not due(tmp_path, home) and not agentic_due({path: load_study(path)}, home)
    names = ["agentic:hub:RM+ends_with_stop+not_empty"]
    names += [f"{names[0]}@{check}" for check in ("ends_with_stop", "not_empty")]
    assert parts(home, "completion_rewards", "reward_id") == [*names, "hub:RM"]
    assert parts(home, "completion_checks", "check_name") == ["ends_with_stop", "not_empty"]
    study(tmp_path, OTHER)
    assert due(tmp_path, home)
    run(path, (agentic_rewards,))
    assert not due(tmp_path, home)
    follow_models(home.parts, [load_study(path)])
    assert parts(home, "completion_rewards", "reward_id") == ["agentic:hub:RM+ends_with_stop", "hub:RM"]
    assert parts(home, "completion_checks", "check_name") == ["ends_with_stop"]
    assert parts(home, "agentic_weights", "reward_id") == ["agentic:hub:RM+ends_with_stop"]
    assert not due(tmp_path, home)


def test_other_values_in_a_file_are_due_and_a_missing_file_is_named(tmp_path: Path) -> None:
    row = {"policy_id": "answers:m", "prompt_id": "p0", "response_no": 0, "value": 1}
    home, path = Home(tmp_path / "home").ensure(), with_values(tmp_path, [row])
    run(path)
    assert not due(tmp_path, home)
    write_lines(tmp_path / "facts.jsonl", [row | {"value": 0.5}])
    assert due(tmp_path, home)
    (tmp_path / "facts.jsonl").unlink()
    assert any("facts.jsonl" in problem for problem in due_work(home, tmp_path).problems)
    with pytest.raises(LocationError, match=r"facts\.jsonl"):
        agentic_due({path: load_study(path)}, home)

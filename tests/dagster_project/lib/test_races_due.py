"""A race is due where a study asks for one, in place of training all; what was asked for is a tag of its run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagster_project.lib.due import gpu_work
from dagster_project.lib.keys import RACES, races_by_partition
from dagster_project.lib.run_requests import RACE_SETTINGS, race_work, request_of
from dagster_project.lib.study_plan import wants
from models_train.errors import UserError
from models_train.parts import write_part
from models_train.study.race_ids import race_plan, race_run_id
from models_train.study.study import Study, load_study
from tests.support.race_parts import made_race
from tests.support.race_studies import RACE, STUDY_ID, write_study
from warehouse.contracts import TABLES
from warehouse.paths import Home


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study")


def jobs(path: Path, study: Study, home: Home) -> list[str]:
    return [work.job for work in gpu_work({path: study}, home)]


def changed(study: Study, **race: Any) -> Study:
    assert study.race is not None
    return study.model_copy(update={"race": study.race.model_copy(update=race)})


def test_a_race_takes_the_place_of_training_all(path: Path, tmp_path: Path) -> None:
    home, study = Home(tmp_path / "home").ensure(), load_study(path)
    assert jobs(path, study, home) == ["race_base_models"]
    (work,) = gpu_work({path: study}, home)
    assert (work.assets, work.partition, work.study_ids) == ((RACES,), STUDY_ID, (STUDY_ID,))
    assert jobs(path, changed(study, train_all=True), home)[:2] == ["race_base_models", "train_reward_models"]
    without = study.model_copy(update={"race": None})
    assert set(jobs(path, without, home)) == {"train_reward_models"}
    assert (races_by_partition(study), races_by_partition(without)) == ({STUDY_ID: STUDY_ID}, {})


def test_a_race_is_due_until_its_answer_counts(path: Path, tmp_path: Path) -> None:
    home, study = Home(tmp_path / "home").ensure(), load_study(path)
    answer = made_race().tables["race_answers"]

    def put(run_id: str) -> None:
        write_part(home.parts, TABLES["race_answers"], answer, study_id=STUDY_ID, run_id=run_id)

    put(race_run_id(race_plan(study, "s"), path.parent))
    assert jobs(path, study, home) == []
    assert jobs(path, changed(study, indifference=1.0), home) == ["race_base_models"]
    put(race_run_id(race_plan(study, "s", {"budget": "3h"}), path.parent))  # as `make pick` leaves it
    assert jobs(path, study, home) == ["race_base_models"]


def test_what_was_asked_for_is_a_tag_of_the_run(path: Path) -> None:
    study, asked = load_study(path), {"budget": "3h", "indifference": 1.0}
    request = request_of(race_work(study, path, asked))
    assert (request.job_name, request.partition_key) == ("race_base_models", STUDY_ID)
    assert json.loads(request.tags[RACE_SETTINGS]) == asked
    with pytest.raises(UserError, match="'soon' is no budget"):
        race_work(study, path, {"budget": "soon"})


def test_parts_of_races_are_kept_while_the_study_trains(path: Path) -> None:
    study = load_study(path)
    without = study.model_copy(update={"race": None})
    for table, partition in (
        ("race_answers", {"study_id": STUDY_ID, "objective": "bradley_terry"}),
        ("race_looks", {"study_id": STUDY_ID, "look_id": "x"}),
        ("run_costs", {"study_id": STUDY_ID, "model_id": "small", "job": "race", "variant": "bradley_terry@census"}),
    ):
        assert wants(study, (), TABLES[table], partition) and wants(without, (), TABLES[table], partition)
        assert not wants(study.model_copy(update={"training": None}), (), TABLES[table], partition)
    assert not wants(study, (), TABLES["run_costs"], {"model_id": "gone", "job": "race", "variant": "bradley_terry"})


def test_a_race_that_cannot_be_found_out_keeps_no_other_work(path: Path, tmp_path: Path) -> None:
    home, study = (
        Home(tmp_path / "home").ensure(),
        load_study(write_study(tmp_path / "b", race=RACE | {"train_all": True})),
    )
    problems: list[str] = []
    found = gpu_work({path: changed(study, candidates=("small", "gone"))}, home, problems=problems)
    assert {work.job for work in found} == {"train_reward_models"}
    assert "'gone' is no base model of the study" in problems[0]

"""What the sensor asks for: each piece of work once, whatever crashed before; what fails, not again and again."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.lib import keys
from dagster_project.lib.failures import GIVEN_UP
from dagster_project.lib.locks import MAKE_RUN_TAGS, end_dead_runs, run_lock, shared_run_lock
from dagster_project.lib.run_requests import MOST_ATTEMPTS, WORK, Evaluation, evaluate, is_being_written
from models_train.errors import UserError
from models_train.study.hub import HubQuery, keep_found
from tests.support.sensor_daemon import killed_evaluations, start, take, write_study
from warehouse.paths import Home

STUDIES_ASSET = {keys.STUDIES}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of study files with one study of one model."""
    studies = tmp_path / "studies"
    studies.mkdir()
    write_study(studies, "first", "small")
    return studies


def added(found: Evaluation) -> list[str]:
    return [key for one in found.partitions for key in one.added]


def retired(found: Evaluation) -> list[str]:
    return [key for one in found.partitions for key in one.retired]


def trainings(found: Evaluation) -> list[str]:
    return [str(run.partition_key) for run in found.runs if run.job_name == "train_reward_models"]


def assets(found: Evaluation) -> set[dg.AssetKey]:
    return {key for run in found.runs for key in run.asset_selection or ()}


def fail(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    instance.report_run_failed(run, "it broke")


def test_a_new_model_is_found_with_its_work(instance: dg.DagsterInstance, home: Home, folder: Path) -> None:
    found = evaluate(instance, home, folder)
    assert (added(found), retired(found)) == (["first/small"], [])
    studies, training = found.runs
    assert set(studies.asset_selection or ()) == STUDIES_ASSET and studies.job_name == "refresh"
    assert training.partition_key == "first/small|bradley_terry"
    assert set(training.asset_selection or ()) == {keys.REWARD_MODELS, keys.COMPLETION_REWARDS}


@pytest.mark.parametrize("crash", ["before partitions", "after partitions", "after some runs", "after all runs"])
def test_a_crash_between_the_steps_doubles_nothing(
    instance: dg.DagsterInstance, home: Home, folder: Path, crash: str
) -> None:
    write_study(folder, "second", "a", "b")
    first = evaluate(instance, home, folder)
    assert len(first.runs) == 4
    if crash != "before partitions":
        take(instance, first)
    started = {"after some runs": 2, "after all runs": 4}.get(crash, 0)
    for run in first.runs[:started]:
        start(instance, run)
    second = evaluate(instance, home, folder)
    # What was started is not asked for again, and the rest under the same key, of which Dagster starts a run once.
    assert [run.run_key for run in second.runs] == [run.run_key for run in first.runs[started:]]
    assert added(second) == (added(first) if crash == "before partitions" else [])
    take(instance, second)
    assert sorted(instance.get_dynamic_partitions("base_models")) == ["first/small", "second/a", "second/b"]


@pytest.mark.slow
def test_an_evaluation_killed_at_any_moment_doubles_nothing(home: Home, tmp_path: Path) -> None:
    """The short form of `make bench`'s kills: SIGKILL while the sensor looks and the daemon follows it up."""
    assert killed_evaluations(home, tmp_path / "kills", n_kills=3, seed="0") == 3


def test_a_model_that_goes_is_retired_and_one_that_comes_back_is_new(
    instance: dg.DagsterInstance, home: Home, folder: Path
) -> None:
    write_study(folder, "second", "a", "b")
    take(instance, evaluate(instance, home, folder))
    write_study(folder, "second", "a")
    found = evaluate(instance, home, folder)
    assert (added(found), retired(found)) == ([], ["second/b"])
    take(instance, found)
    (folder / "second.yaml").unlink()
    assert retired(evaluate(instance, home, folder)) == ["second/a"]
    write_study(folder, "second", "a", "b")
    assert added(evaluate(instance, home, folder)) == ["second/b"]


def test_a_new_revision_is_new_work(instance: dg.DagsterInstance, home: Home, folder: Path) -> None:
    first = evaluate(instance, home, folder)
    for run in first.runs:
        start(instance, run)
    (folder / "small" / "config.json").write_text(json.dumps({"name": "small", "revision": 2}))
    assert trainings(evaluate(instance, home, folder)) == []  # one run of a partition at a time
    for run in instance.get_runs():
        fail(instance, run)
    found = evaluate(instance, home, folder)
    assert trainings(found) == ["first/small|bradley_terry"]
    assert found.runs[-1].run_key != first.runs[-1].run_key


def test_what_failed_is_tried_again_after_a_pause_and_given_up_in_the_end(
    instance: dg.DagsterInstance, home: Home, folder: Path
) -> None:
    now, run_keys = time.time(), set()
    for attempt in range(MOST_ATTEMPTS):
        found = evaluate(instance, home, folder, now=now)
        (request,) = (run for run in found.runs if run.job_name == "train_reward_models")
        run_keys.add(request.run_key)
        fail(instance, start(instance, request))
        later = evaluate(instance, home, folder, now=time.time())
        assert trainings(later) == []
        said = "given up until its inputs change" if attempt == MOST_ATTEMPTS - 1 else "minutes after that"
        assert any("reward model of small" in note and said in note for note in later.notes)
        now += 7200
    assert len(run_keys) == MOST_ATTEMPTS
    assert trainings(evaluate(instance, home, folder, now=now + 1e6)) == []


def test_a_failure_of_a_clock_that_was_ahead_is_tried_again_today(
    instance: dg.DagsterInstance, home: Home, folder: Path
) -> None:
    day = 86400.0
    (request,) = (run for run in evaluate(instance, home, folder).runs if run.job_name == "train_reward_models")
    run = start(instance, request)
    fail(instance, run)
    ended = instance.get_run_record_by_id(run.run_id)
    assert ended is not None and ended.end_time is not None
    assert trainings(evaluate(instance, home, folder, now=ended.end_time - 60)) == [], "clocks that differ a little"
    assert len(trainings(evaluate(instance, home, folder, now=ended.end_time - 1000 * day))) == 1


def test_a_study_file_of_the_future_is_read(folder: Path) -> None:
    (file,) = folder.glob("*.yaml")
    for ahead, written in ((-60, False), (0, True), (60, False), (1e9, False)):
        os.utime(file, (time.time() + ahead, time.time() + ahead))
        assert is_being_written(folder) == written


def test_work_that_was_killed_goes_on_at_once(instance: dg.DagsterInstance, home: Home, folder: Path) -> None:
    for _ in range(MOST_ATTEMPTS + 1):
        (request,) = (run for run in evaluate(instance, home, folder).runs if run.job_name == "train_reward_models")
        run = start(instance, request)
        place = home.dagster_home / "at_work" / run.run_id
        place.parent.mkdir(exist_ok=True)
        place.touch()
        assert run.run_id in end_dead_runs(instance, home)


def test_what_cannot_succeed_is_not_tried_again(instance: dg.DagsterInstance, home: Home, folder: Path) -> None:
    run = start(instance, evaluate(instance, home, folder).runs[-1])
    instance.add_run_tags(run.run_id, {GIVEN_UP: "yes"})
    fail(instance, run)
    found = evaluate(instance, home, folder, now=time.time() + 1e6)
    assert trainings(found) == [] and "until its inputs change" in found.notes[0] and run.run_id[:8] in found.notes[0]


def test_one_model_without_its_folder_holds_back_itself_only(
    instance: dg.DagsterInstance, home: Home, folder: Path
) -> None:
    write_study(folder, "second", "a", "b")
    shutil.rmtree(folder / "a")
    found = evaluate(instance, home, folder)
    assert trainings(found) == ["first/small|bradley_terry", "second/b|bradley_terry"]
    assert [note.split(":")[0] for note in found.notes] == ["second, a"]


def test_a_bad_study_file_is_reported_once_and_begins_nothing(
    instance: dg.DagsterInstance, home: Home, folder: Path
) -> None:
    (folder / "bad.yaml").write_text("study_id: 7\n")
    found = evaluate(instance, home, folder)
    assert [run.job_name for run in found.runs] == ["refresh"], "the check that fails with the file's problems"
    assert "bad.yaml" in found.notes[0] and (added(found), retired(found)) == ([], [])
    run = start(instance, found.runs[0])
    instance.add_run_tags(run.run_id, {GIVEN_UP: "yes"})
    fail(instance, run)
    assert evaluate(instance, home, folder, now=time.time() + 1e6).runs == []


def test_the_hub_is_asked_when_its_answer_is_old_and_what_it_found_is_new_work(
    instance: dg.DagsterInstance, home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARDBASE_HOME", str(home.root))
    path = folder / "first.yaml"
    query = {"publishers": ["acme"], "max_params_b": 2.0, "licences": ["mit"], "refresh_hours": 10.0}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"hub": query}))
    before = evaluate(instance, home, folder)
    asked = [run for run in before.runs if set(run.asset_selection or ()) == {keys.HUB_MODELS}]
    assert len(asked) == 1 and added(before) == ["first/small"]
    fail(instance, start(instance, asked[0]))
    assert keys.HUB_MODELS not in assets(evaluate(instance, home, folder))
    found = {"hub_id": "acme/new", "revision": "a" * 40, "publisher": "acme", "family": "f", "params_b": 1.0}
    keep_found(home.root, "first", HubQuery.model_validate(query), [found | {"stage": "base"}])
    after = evaluate(instance, home, folder)
    assert "first/new" in added(after) and "first/new|bradley_terry" in trainings(after)
    assert keys.HUB_MODELS not in assets(after) and after.runs[0].run_key != before.runs[0].run_key
    assert keys.HUB_MODELS in assets(evaluate(instance, home, folder, now=time.time() + 11 * 3600))


def test_what_somebody_else_makes_is_not_asked_for(instance: dg.DagsterInstance, home: Home, folder: Path) -> None:
    """A backfill's run of the partition, without the sensor's tag."""
    request = evaluate(instance, home, folder).runs[-1]
    run = start(instance, request._replace(tags={}))
    assert WORK not in run.tags
    assert trainings(evaluate(instance, home, folder)) == []


def test_the_sensor_hands_on_what_the_look_found(
    instance: dg.DagsterInstance, home: Home, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_project.defs import sensors

    monkeypatch.setenv("REWARDBASE_HOME", str(home.root))
    monkeypatch.setattr(sensors, "STUDIES", folder)
    with dg.build_sensor_context(instance=instance) as context:
        made = sensors.new_models(context)
    assert isinstance(made, dg.SensorResult) and "changed just now" in str(made.skip_reason)
    os.utime(folder / "first.yaml", (1e9, 1e9))
    with dg.build_sensor_context(instance=instance) as context:
        made = sensors.new_models(context)
    assert isinstance(made, dg.SensorResult)
    assert [run.job_name for run in made.run_requests or ()] == ["refresh", "train_reward_models"]
    assert list(made.dynamic_partitions_requests or ()) == [
        keys.BASE_MODEL_PARTITIONS.build_add_request(["first/small"])
    ]
    with run_lock(home), dg.build_sensor_context(instance=instance) as context:
        made = sensors.new_models(context)
    assert isinstance(made, dg.SensorResult) and not made.run_requests
    assert made.skip_reason is not None and "make run" in str(made.skip_reason.skip_message)


def test_a_run_of_the_ui_and_make_run_exclude_each_other(instance: dg.DagsterInstance, home: Home) -> None:
    run = instance.add_run(dg.DagsterRun(job_name="refresh", status=dg.DagsterRunStatus.STARTED))
    with shared_run_lock(home, run):
        with pytest.raises(UserError, match=f"Dagster UI.*{run.run_id[:8]}"), run_lock(home):
            pass
        assert end_dead_runs(instance, home) == []
    with run_lock(home), shared_run_lock(home, dg.DagsterRun(job_name="refresh", tags=MAKE_RUN_TAGS)):
        pass  # its own runs do not wait for it


def test_a_run_whose_process_is_gone_is_ended(instance: dg.DagsterInstance, home: Home) -> None:
    dead, unseen = (
        instance.add_run(dg.DagsterRun(job_name="refresh", status=dg.DagsterRunStatus.STARTED)) for _ in range(2)
    )
    place = home.dagster_home / "at_work" / dead.run_id
    place.parent.mkdir()
    place.touch()
    assert end_dead_runs(instance, home) == [dead.run_id]
    states = [instance.get_run_by_id(run.run_id) for run in (dead, unseen)]
    assert [run and run.status for run in states] == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]
    assert not place.exists()

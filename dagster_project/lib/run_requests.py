"""Run requests: due work and stale assets as runs, the same for `make run`, the sensor and the nightly schedule.

Nothing is remembered here. Each evaluation compares the study files with the partitions and parts that are there, so
it does not matter what crashed before, or who made a part. The name of the work is a tag of its runs; by this tag runs
are found, counted and never doubled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.lib import keys
from dagster_project.lib.due import Studies, Work, due_work, study_check
from dagster_project.lib.failures import GIVEN_UP
from dagster_project.lib.locks import CUT_SHORT
from dagster_project.lib.stale import stale_assets
from dagster_project.lib.study_plan import LEAVE_OUT
from models_train.parts import content_hash
from models_train.store import StoreError
from models_train.study.race_ids import race_plan, race_run_id
from models_train.study.study import STUDY_FILES, Study
from models_train.study.yaml_lines import StudyError
from warehouse.connection import WarehouseBusy
from warehouse.part_files import LandingError, refuse_former_rewards
from warehouse.paths import Home

WORK = "rewardbase/work"
"""Tag of a run: the name of the work that it does."""
RACE_SETTINGS = "rewardbase/race"
"""Tag of a run: settings of a race in place of the study file's, as JSON."""
MOST_ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 600.0
"""Pause after the first failed attempt, in seconds."""
PAUSE_FACTOR = 6.0
"""Growth of the pause from one attempt to the next: ten minutes, then an hour."""
STILL_SECONDS = 2.0
"""Age from which a study file counts as completely written, in seconds."""
_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass
class Evaluation:
    """Result of an evaluation: changes of partitions, runs to start, and notes for people."""

    partitions: list[keys.PartitionChange] = field(default_factory=list)
    runs: list[dg.RunRequest] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def evaluate(instance: dg.DagsterInstance, home: Home, folder: Path, *, now: float | None = None) -> Evaluation:
    """Runs that the daemon starts: all due work that is not waiting, at work or given up; none while rewards of an
    earlier version have to be carried over. now: as in `due_work`."""
    found = Evaluation()
    try:
        home = home.at_one_look()
        refuse_former_rewards(home.parts)
    except (LandingError, StoreError) as error:
        found.notes.append(str(error))
        return found
    seconds = time.time() if now is None else now
    works: list[Work] = []
    studies: Studies = {}
    try:
        due = due_work(home, folder, now=seconds)
        studies = due.studies
        found.partitions = keys.partition_changes(instance, studies.values())
        found.notes += due.problems
        works = [*due.before_gpu, *due.gpu]
    except StudyError as error:
        # The asset of the study files reports it, too; until every file is right, no work of any study begins.
        found.notes.append(str(error))
    check = study_check(instance, home, folder, studies)
    works = [check, *works] if check else works
    busy = _partitions_at_work(instance) if works else set()
    for work in works:
        request = _patient_request(instance, work, busy, found, seconds)
        if request is not None:
            found.runs.append(request)
    return found


def is_being_written(folder: Path) -> bool:
    """True where a study file changed within STILL_SECONDS of now; one dated further ahead is not being written."""
    return any(abs(time.time() - path.stat().st_mtime) < STILL_SECONDS for path in folder.glob(STUDY_FILES))


def request_of(work: Work, run_key: str | None = None) -> dg.RunRequest:
    """The run of due work."""
    return dg.RunRequest(
        run_key=run_key,
        job_name=work.job,
        asset_selection=list(work.assets),
        partition_key=work.partition,
        # A run that crashed counts as an attempt; Dagster itself does not start it again.
        tags={WORK: work.name, "dagster/max_retries": "0", **dict(work.tags)},
    )


def race_work(study: Study, path: Path, asked: Mapping[str, Any]) -> Work:
    """The race of a study, done or not, with settings in place of its group's. path: the study file. Raises
    UserError."""
    run_id = race_run_id(race_plan(study, str(path), asked), path.parent)
    tags = ((RACE_SETTINGS, json.dumps(dict(asked))),)
    title, name = f"{study.study_id}: race of the base models", content_hash({"race": run_id}, 24)
    return Work("race_base_models", (keys.RACES,), study.study_id, title, (study.study_id,), name, tags)


def refresh_request(
    assets: Iterable[dg.AssetKey], run_key: str | None = None, *, leave_out: Collection[str] = ()
) -> dg.RunRequest:
    """The run of stale assets. leave_out: studies that stay out of the warehouse in this run."""
    tags = {LEAVE_OUT: ",".join(sorted(leave_out))} if leave_out else {}
    return dg.RunRequest(run_key=run_key, job_name="refresh", asset_selection=sorted(assets), tags=tags)


def nightly_request(
    instance: dg.DagsterInstance, home: Home, specs: Sequence[dg.AssetSpec], night: datetime
) -> dg.RunRequest:
    """The run of a night: the snapshot, and all stale assets, or all assets where the warehouse cannot be read."""
    try:
        assets = set(stale_assets(home, instance, specs))
    except WarehouseBusy:
        assets = {spec.key for spec in specs if spec.partitions_def is None}
    return refresh_request(assets | {keys.SNAPSHOT}, f"night of {night.astimezone(UTC):%Y-%m-%d}")


def _patient_request(
    instance: dg.DagsterInstance, work: Work, busy: set[tuple[dg.AssetKey, str]], found: Evaluation, now: float
) -> dg.RunRequest | None:
    """The run of due work; None where one is waiting or at work, during a pause, and after MOST_ATTEMPTS."""
    if any((key, work.partition or "") in busy for key in work.assets):
        return None
    # Newest first.
    records = instance.get_run_records(dg.RunsFilter(tags={WORK: work.name}))
    if records:
        last = records[0]
        if not last.dagster_run.is_finished:
            return None
        where = f"its last run is {last.dagster_run.run_id[:8]}"
        if GIVEN_UP in last.dagster_run.tags:
            found.notes.append(f"{work.title}: failed, not tried again until its inputs change; {where}")
            return None
        attempts = sum(CUT_SHORT not in record.dagster_run.tags for record in records)
        if attempts >= MOST_ATTEMPTS:
            found.notes.append(f"{work.title}: tried {attempts} times, given up until its inputs change; {where}")
            return None
        wait = 0.0 if CUT_SHORT in last.dagster_run.tags else FIRST_PAUSE_SECONDS * PAUSE_FACTOR ** (attempts - 1)
        if not last.dagster_run.is_success and abs(now - (last.end_time or now)) < wait:
            found.notes.append(f"{work.title}: failed; tried again {wait / 60:.0f} minutes after that; {where}")
            return None
    return request_of(work, f"{work.name}-{len(records)}")


def _partitions_at_work(instance: dg.DagsterInstance) -> set[tuple[dg.AssetKey, str]]:
    """Assets and partitions ("" for none) that a run makes now or will make: of a person, a backfill or a sensor."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[*_WAITING, *_AT_WORK]))
    return {
        (key, run.tags.get("dagster/partition", ""))
        for run in runs
        for key in run.asset_selection or _assets_of_job(run.job_name)
    }


def _assets_of_job(job: str) -> Sequence[dg.AssetKey]:
    """Assets that a run without a selection makes, of those that sensors request."""
    return {
        "train_reward_models": (keys.REWARD_MODELS, keys.COMPLETION_REWARDS),
        "score_reward_models": (keys.HUB_REWARDS,),
        "score_documents": (keys.DOCUMENT_SCORES,),
        "run_benchmarks": (keys.BENCHMARKS,),
        "sample_policies": (keys.RESPONSES,),
        "teach_policies": (keys.POLICY_RUNS,),
        "race_base_models": (keys.RACES,),
        "refresh": (keys.STUDIES, *keys.INPUT_PARTS),
    }.get(job, ())

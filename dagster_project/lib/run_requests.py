"""What sensors and the nightly schedule ask Dagster to run: what is due, each piece of work once.

Nothing here remembers anything. Each look compares the study files with the partitions and parts that are there, so
that it does not matter what crashed before, or who made a part. A piece of work is named by what it would make; that
name is a tag of its runs, by which they are found, counted and never doubled.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from dagster_project.defs import base_models
from dagster_project.lib import due, partitions, stale
from dagster_project.lib.failures import GIVEN_UP
from dagster_project.lib.locks import CUT_SHORT
from models_train.study.fingerprints import LocationError, import_run_id, lab_run_id, sample_run_id
from models_train.study.study import Study
from models_train.study.yaml_lines import StudyError
from warehouse.paths import Home

WORK = "rewardbase/work"
"""Tag of a run: the name of the work that it does."""
MOST_ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 600.0
PAUSE_FACTOR = 6.0
"""Between the attempts of a piece of work: ten minutes, then an hour."""
STILL_SECONDS = 2.0
_WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


@dataclass
class Found:
    """What a look found: partitions to add and to retire, runs to start, and what to tell, in words."""

    added: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    runs: list[dg.RunRequest] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Work:
    """A piece of work: its job, assets and partition, in words, and what names it."""

    job: str
    assets: tuple[dg.AssetKey, ...]
    partition: str | None
    words: str
    name: str


def look(instance: dg.DagsterInstance, home: Home, folder: Path, *, now: float | None = None) -> Found:
    """Compare the study files in `folder` with what is there. now: seconds since 1970, for tests."""
    found = Found()
    studies: dict[Path, Study] = {}
    works = list(_studies_work(instance))
    try:
        studies = due.study_files(folder)
        _follow_partitions(instance, list(studies.values()), found)
        works += _hub_work(studies, home, time.time() if now is None else now)
        works += _inputs_work(studies, home, found)
        works += _gpu_work(studies, home, found)
    except StudyError as error:
        # Its own asset says so, too; until the file is right, no work of any study begins.
        found.notes.append(str(error))
    busy = _partitions_at_work(instance) if works else set()
    for work in works:
        request = _request(instance, work, busy, found, time.time() if now is None else now)
        if request is not None:
            found.runs.append(request)
    return found


def is_being_written(folder: Path) -> bool:
    """True where a study file changed so lately that more of it may come."""
    return any(time.time() - path.stat().st_mtime < STILL_SECONDS for path in folder.glob("*.yaml"))


def _studies_work(instance: dg.DagsterInstance) -> Iterator[Work]:
    """The check of the study files, where they, the seeds or the code that reads them changed since the last one."""
    version = base_models.version()
    event = instance.get_latest_materialization_event(base_models.KEY)
    last = event.asset_materialization if event else None
    if event is None or last is None or (last.tags or {}).get(stale.CODE_VERSION) != version:
        # Files that are put back as they were have to be read again: what was read last is part of the name.
        name = _name("studies", version, event.run_id if event else "")
        yield Work("refresh", (base_models.KEY,), None, "reading the study files", name)


def _follow_partitions(instance: dg.DagsterInstance, studies: list[Study], found: Found) -> None:
    wanted = {key for study in studies for key in partitions.models_at_work(study)}
    present = set(instance.get_dynamic_partitions("base_models"))
    found.added, found.retired = sorted(wanted - present), sorted(present - wanted)


def _hub_work(studies: Mapping[Path, Study], home: Home, now: float) -> Iterator[Work]:
    """The question to the hub, where it was not answered lately; a new one each time that it should have been."""
    names = [
        f"{study.hub.name} {now // (study.hub.refresh_hours * 3600):.0f}"
        for path, study in studies.items()
        if study.hub and due.queries_due({path: study}, home, now)
    ]
    if names:
        yield Work("refresh", (due.HUB_MODELS,), None, "asking the hub for models", _name("hub", *names))


def _inputs_work(studies: Mapping[Path, Study], home: Home, found: Found) -> Iterator[Work]:
    """Labs, samples of documents and imports that are due. One that cannot be looked at is noted."""
    labs = {path: study for path, study in studies.items() if due.labs_due({path: study}, home)}
    if labs:
        yield Work("refresh", (due.LAB,), None, "making the lab", _name(*map(lab_run_id, labs.values())))
    kinds = (
        (due.DOCUMENTS, due.samples_due, _sample_name, "sampling documents"),
        (due.BENCHMARK_IMPORTS, due.imports_due, import_run_id, "importing benchmark results"),
    )
    for key, is_due, name_of, words in kinds:
        names = []
        for path, study in studies.items():
            try:
                if path not in labs and is_due({path: study}, home):
                    names.append(name_of(study, path.parent))
            except LocationError as error:
                found.notes.append(f"{study.study_id}: {error}")
        if names:
            yield Work("refresh", (key,), None, words, _name(words, *names))


def _sample_name(study: Study, folder: Path) -> str:
    assert study.scoring is not None
    return sample_run_id(study.scoring.corpus, folder)


def _gpu_work(studies: Mapping[Path, Study], home: Home, found: Found) -> Iterator[Work]:
    """GPU work that is due, of every study whose lab is made; documents are scored when they are sampled."""
    ready = {path: study for path, study in studies.items() if not due.labs_due({path: study}, home)}
    unsampled = set()
    for path, study in ready.items():
        try:
            if due.samples_due({path: study}, home):
                unsampled.add(study.study_id)
        except LocationError:
            unsampled.add(study.study_id)
    for task in due.due(ready, home, problems=found.notes):
        study_id = task.words.split(":", 1)[0]
        if task.job != "score_documents" or study_id not in unsampled:
            assets = ",".join(key.to_user_string() for key in task.assets)
            name = _name(task.job, task.partition, assets, task.makes)
            yield Work(task.job, task.assets, task.partition, task.words, name)


def _request(
    instance: dg.DagsterInstance, work: Work, busy: set[tuple[dg.AssetKey, str]], found: Found, now: float
) -> dg.RunRequest | None:
    """The run of a piece of work; None where one is waiting or at work, or where it was tried often enough."""
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
            found.notes.append(f"{work.words}: failed and is not tried again until its inputs change; {where}")
            return None
        attempts = sum(CUT_SHORT not in record.dagster_run.tags for record in records)
        if attempts >= MOST_ATTEMPTS:
            found.notes.append(f"{work.words}: tried {attempts} times, given up until its inputs change; {where}")
            return None
        wait = 0.0 if CUT_SHORT in last.dagster_run.tags else FIRST_PAUSE_SECONDS * PAUSE_FACTOR ** (attempts - 1)
        if not last.dagster_run.is_success and now - (last.end_time or now) < wait:
            found.notes.append(f"{work.words}: failed; tried again {wait / 60:.0f} minutes after that; {where}")
            return None
    return dg.RunRequest(
        run_key=f"{work.name}-{len(records)}",
        job_name=work.job,
        asset_selection=list(work.assets),
        partition_key=work.partition,
        # A run that crashed is counted as an attempt, not started again by Dagster itself.
        tags={WORK: work.name, "dagster/max_retries": "0"},
    )


def _partitions_at_work(instance: dg.DagsterInstance) -> set[tuple[dg.AssetKey, str]]:
    """Assets and partitions ("" for none) that a run makes now, or will: of a person's, a backfill's or a sensor's."""
    runs = instance.get_runs(dg.RunsFilter(statuses=[*_WAITING, *_AT_WORK]))
    return {
        (key, run.tags.get("dagster/partition", ""))
        for run in runs
        for key in run.asset_selection or _assets_of_job(run.job_name)
    }


def _assets_of_job(job: str) -> Sequence[dg.AssetKey]:
    """What a run without a selection of its own makes, as far as sensors ask for it."""
    return {
        "train_reward_models": (due.REWARD_MODELS, due.COMPLETION_REWARDS),
        "score_documents": (due.DOCUMENT_SCORES,),
        "run_benchmarks": (due.BENCHMARKS,),
        "refresh": (base_models.KEY, due.HUB_MODELS, due.LAB, due.DOCUMENTS, due.BENCHMARK_IMPORTS),
    }.get(job, ())


def _name(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]

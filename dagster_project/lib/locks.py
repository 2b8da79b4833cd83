"""Locks: one `make run` at a time, and never beside a run of the UI's daemon; clean-up after killed runs.

`make run` holds the home's lock. A run of the daemon holds a file, `dagster/at_work/<run>`, while its process lives.
Each takes its lock first and then checks for the other's, so that both never go on. The kernel releases the locks of
a process that is killed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import dagster as dg

from models_train.errors import UserError
from warehouse.paths import Home

MAKE_RUN_TAGS = {"rewardbase/started_by": "make run", "dagster/max_retries": "0"}
"""Tags of the runs of `make run`. The daemon retries none of them: the next `make run` does."""
CUT_SHORT = "rewardbase/cut_short"
"""Tag of a run whose process was killed or interrupted: it does not count as an attempt at its work."""
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_POLL_SECONDS = 1.0


@contextmanager
def run_lock(home: Home) -> Iterator[None]:
    """Hold the home's lock. Raises UserError where another `make run`, or a run of the UI, is at work."""
    with open(_lock_file(home), "a+", encoding="utf-8") as file:
        if not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(f"Another `make run` is at work in {home.root} (process {holder}); wait for it, or end it.")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        others = [path.name for path in _run_files(home) if _is_held(path)]
        if others:
            raise UserError(
                f"A run of the Dagster UI is at work in {home.root} (run {others[0][:8]}); "
                "wait for it, or terminate it there."
            )
        yield


def make_run_is_at_work(home: Home) -> bool:
    """True while a `make run` holds the home's lock."""
    return _is_held(_lock_file(home))


@contextmanager
def shared_run_lock(home: Home, run: dg.DagsterRun) -> Iterator[None]:
    """Hold the shared run lock while a UI run executes; waits for `make run`. Runs of `make run` do not need it."""
    if MAKE_RUN_TAGS.items() <= run.tags.items():
        yield
        return
    place = _run_files_folder(home) / run.run_id
    place.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(place, "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            if not make_run_is_at_work(home):
                try:
                    yield
                finally:
                    place.unlink(missing_ok=True)
                return
        time.sleep(_POLL_SECONDS)


def end_dead_runs(instance: dg.DagsterInstance, home: Home) -> list[str]:
    """Mark runs whose process is gone as failed, and free the pools that they held; returns their ids.

    Without this, a killed run would hold the pool for ever, and every later run would wait for it. Runs of an earlier
    `make run` are dead where the caller holds the lock or nobody does; runs of the UI where their file is there, but
    not locked.
    """
    dead = [path.name for path in _run_files(home) if not _is_held(path)]
    runs = [run for run_id in dead if (run := instance.get_run_by_id(run_id)) and run.status in _UNFINISHED]
    if _held_here(home) or not make_run_is_at_work(home):
        runs += instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED, tags=MAKE_RUN_TAGS))
    for run in runs:
        instance.add_run_tags(run.run_id, {CUT_SHORT: "yes"})
        instance.report_run_failed(run, "The process of this run ended before it did.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    for run_id in dead:
        (_run_files_folder(home) / run_id).unlink(missing_ok=True)
    return [run.run_id for run in runs]


def _lock(file: IO[str]) -> bool:
    """Lock the file, with three attempts: a check whether it is locked locks it for a moment."""
    for pause in (0.1, 0.1, 0.0):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(pause)
    return False


def _lock_file(home: Home) -> Path:
    return home.root / "run.lock"


def _held_here(home: Home) -> bool:
    """True where this process holds the home's lock."""
    return make_run_is_at_work(home) and _lock_file(home).read_text().strip() == str(os.getpid())


def _run_files_folder(home: Home) -> Path:
    return home.dagster_home / "at_work"


def _run_files(home: Home) -> list[Path]:
    return sorted(_run_files_folder(home).glob("*"))


def _is_held(path: Path) -> bool:
    """True where some process has the file locked."""
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False

"""One `make run` at a time and none beside a run of the UI's; and the cleaning up after runs that were killed.

`make run` holds the home's lock and works in runs of its own. A run that the UI's daemon started holds a file of its
own, `dagster/at_work/<run>`, for as long as its process lives. Each looks whether the other is there after it has made
itself seen, so that never both go on.
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

from warehouse.paths import Home

# Dagster's own log lines stay off the terminal: the progress display tells what matters, the UI has the rest.
QUIET_LOGS = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# The daemon starts none of them again: the next `make run` does.
TAG = {"rewardbase/started_by": "make run", "dagster/max_retries": "0"}
CUT_SHORT = "rewardbase/cut_short"
"""Tag of a run whose process was killed, most likely with all else: that says nothing of its work."""
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LOOK_SECONDS = 1.0


class AlreadyRunning(RuntimeError):
    """Another `make run`, or a run of the UI's, is at work in the same home."""


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Hold the home's lock; it goes with the process, however that ends. Raises AlreadyRunning."""
    with open(_lock_file(home), "a+", encoding="utf-8") as file:
        if not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AlreadyRunning(
                f"Another `make run` is at work in {home.root} (process {holder}); wait for it, or end it."
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        others = [path.name for path in _run_files(home) if _is_held(path)]
        if others:
            raise AlreadyRunning(
                f"A run of the Dagster UI is at work in {home.root} (run {others[0][:8]}); "
                "wait for it, or end it there."
            )
        yield


def make_run_is_at_work(home: Home) -> bool:
    """True while a `make run` holds the home's lock."""
    return _is_held(_lock_file(home))


@contextmanager
def among_others(home: Home, run: dg.DagsterRun) -> Iterator[None]:
    """What a run of the UI's is inside of, for as long as its process works: seen by others, and never beside `make
    run`, which it waits for. The runs that `make run` itself makes are covered by its own lock."""
    if TAG.items() <= run.tags.items():
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
        time.sleep(_LOOK_SECONDS)


def end_dead_runs(instance: dg.DagsterInstance, home: Home) -> list[str]:
    """Mark runs as failed whose process is gone, and free the pools that they held; returns their ids.

    Without this, a killed run would hold the pool for ever, and every later run would wait for it. Runs of an earlier
    `make run` are dead where the caller is `alone`, or no `make run` is at work; runs of the UI's where their file is
    there, but nobody holds it.
    """
    dead = [path.name for path in _run_files(home) if not _is_held(path)]
    runs = [run for run_id in dead if (run := instance.get_run_by_id(run_id)) and run.status in _UNFINISHED]
    if _held_here(home) or not make_run_is_at_work(home):
        runs += instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED, tags=TAG))
    for run in runs:
        instance.add_run_tags(run.run_id, {CUT_SHORT: "yes"})
        instance.report_run_failed(run, "The process of this run ended before it did.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    for run_id in dead:
        (_run_files_folder(home) / run_id).unlink(missing_ok=True)
    return [run.run_id for run in runs]


def _lock(file: IO[str]) -> bool:
    """Lock the file, if need be at the third try: whoever looks whether it is held, holds it for a moment."""
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

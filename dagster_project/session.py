"""One `make run` at a time, and the cleaning up after one that was killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from warehouse.home import Home

# Dagster's own log lines stay off the terminal: the progress display tells what matters, the UI has the rest.
QUIET_LOGS = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
TAG = {"rewardbase/started_by": "make run"}
_UNFINISHED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


class AlreadyRunning(RuntimeError):
    """Another `make run` holds the same home."""


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Hold the home's lock; it goes with the process, however that ends. Raises AlreadyRunning."""
    with open(home.root / "run.lock", "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AlreadyRunning(
                f"Another `make run` is at work in {home.root} (process {holder}); wait for it, or end it."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def end_dead_runs(instance: dg.DagsterInstance) -> int:
    """Mark runs of an earlier `make run` that never ended as failed, and free the pool that they held.

    To be called while `alone`: then no such run can be alive. Returns their number. Without this, a killed run would
    hold the pool for ever, and every later run would wait for it.
    """
    dead = instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED, tags=TAG))
    for run in dead:
        instance.report_run_failed(run, "The process of this run ended before it did.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(dead)

"""Execution of run requests by `make run`: GPU work in worker processes, everything else in this process.

Dagster has no queue without a daemon, and its daemon starts a process per run, which loads the project and torch: ten
seconds of a core for each of the lab's short tasks. So `make run` takes the same requests as the sensor, in the same
order, and executes them as Dagster runs of the same jobs, recorded in the same instance.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context

import dagster as dg
from rich.console import Console

from dagster_project.environment import settings
from dagster_project.lib.due import Work
from dagster_project.lib.keys import GPU_POOL
from dagster_project.lib.locks import CUT_SHORT, MAKE_RUN_TAGS
from dagster_project.lib.progress import POLL_SECONDS, RunProgress, TaskDisplay, bars, catch_up, watch
from dagster_project.lib.run_requests import request_of
from models_train.machine import out_of_memory
from models_train.processes import STOP_SECONDS, descendants, end_in_time, end_with_parent, send_signal

QUIET_LOGS = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run configuration that keeps Dagster's log lines off the terminal; the UI has them."""


@cache
def load_definitions() -> dg.Definitions:
    """The code location, read once in each process."""
    from dagster_project.definitions import defs

    return defs()


def execute(instance: dg.DagsterInstance, request: dg.RunRequest, *, with_messages: bool = False) -> list[str]:
    """Execute a run request in this process, with progress; returns the messages of failures.

    with_messages: show log messages of the steps, too. Raises KeyboardInterrupt after Ctrl-C, when the run has ended.
    """
    run_id = str(uuid.uuid4())
    with terminal_only() as terminal:
        try:
            return watch(
                instance,
                run_id,
                len(request.asset_selection or ()),
                lambda: _execute_in_process(instance, request, run_id),
                terminal,
                with_messages=with_messages,
            )
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
            _tag_cut_short(instance, run_id)
            raise KeyboardInterrupt from error


def _execute_in_process(instance: dg.DagsterInstance, request: dg.RunRequest, run_id: str) -> bool:
    """Execute the run of a request; returns whether it succeeded."""
    job = load_definitions().resolve_job_def(str(request.job_name))
    return (
        job.get_subset(asset_selection=set(request.asset_selection or ()))
        .execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config=QUIET_LOGS,
            tags={**request.tags, **MAKE_RUN_TAGS},
            raise_on_error=False,
            partition_key=request.partition_key,
        )
        .success
    )


@dataclass
class _Task:
    """GPU work that waits or is at work, as a run in a worker process."""

    work: Work
    place: int
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    seen: RunProgress = field(default_factory=RunProgress)
    began: float = field(default_factory=time.monotonic)

    def failures(self, success: bool) -> list[str]:
        """Messages of failures, each after the title of the work."""
        found = self.seen.failures or ([] if success else [f"the run failed; its log: `make ui`, run {self.run_id}"])
        return [f"{self.work.title}: {message}" for message in found]


def execute_gpu_work(instance: dg.DagsterInstance, works: Sequence[Work]) -> list[str]:
    """Execute GPU work, REWARDBASE_WORKERS runs at a time; returns the messages of failures.

    Processes and not threads: two runs in one process block each other's logging forever. Raises KeyboardInterrupt
    after Ctrl-C, when the jobs at work have ended; finished parts are kept.
    """
    workers = settings().workers
    instance.event_log_storage.set_concurrency_slots(GPU_POOL, workers)
    failures: list[str] = []
    waiting = [_Task(work, place) for place, work in enumerate(works)]
    at_work: dict[Future[bool], _Task] = {}
    with (
        terminal_only() as terminal,
        bars(terminal) as bar,
        ProcessPoolExecutor(
            min(workers, len(works)), get_context("spawn"), initializer=_begin_worker, initargs=(os.getpid(),)
        ) as pool,
    ):
        display = TaskDisplay(bar, terminal, [work.title for work in works])
        try:
            while waiting or at_work:
                while waiting and len(at_work) < workers:
                    task = waiting.pop(0)
                    task.began = time.monotonic()
                    display.begin(task.place)
                    at_work[pool.submit(_execute_in_worker, request_of(task.work), task.run_id)] = task
                ended, _ = wait(at_work, POLL_SECONDS, FIRST_COMPLETED)
                for future, task in list(at_work.items()):
                    _show_news(instance, task, display)
                    if future in ended:
                        found = task.failures(_success(future))
                        failures += found
                        display.end(task.place, time.monotonic() - task.began, failed=bool(found))
                        del at_work[future]
        except KeyboardInterrupt:
            for task in at_work.values():
                _tag_cut_short(instance, task.run_id)
            # A terminal sends Ctrl-C to all of them itself; another sender does not. Workers end with the pool.
            send_signal(descendants(), signal.SIGINT)
            wait(at_work, STOP_SECONDS)
            raise
        except BrokenProcessPool:
            failures.append(f"{out_of_memory('a process of this run')}; the next run does the remaining tasks")
    return failures


def _execute_in_worker(request: dg.RunRequest, run_id: str) -> bool:
    with dg.DagsterInstance.get() as instance:
        return _execute_in_process(instance, request, run_id)


def _begin_worker(parent: int) -> None:
    """In a worker process: it ends, with the job that it started, after the parent, and in time after Ctrl-C."""
    end_with_parent(parent)
    end_in_time()


def _success(future: Future[bool]) -> bool:
    """The worker's result; False for a killed process. Raises KeyboardInterrupt where the run was interrupted."""
    try:
        return future.result()
    except BrokenProcessPool:
        return False
    except dg.DagsterExecutionInterruptedError as error:
        raise KeyboardInterrupt from error


def _show_news(instance: dg.DagsterInstance, task: _Task, display: TaskDisplay) -> None:
    catch_up(instance, task.run_id, task.seen, lambda text, _: display.show(task.place, text), True)


def _tag_cut_short(instance: dg.DagsterInstance, run_id: str) -> None:
    if instance.get_run_by_id(run_id):
        instance.add_run_tags(run_id, {CUT_SHORT: "yes"})


@contextmanager
def terminal_only() -> Iterator[Console]:
    """A console on the real standard output, while all other output of the process is discarded.

    Output of steps and of dbt is captured by Dagster and shown in its UI; here it would disturb the progress display.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with open(os.dup(1), "w", encoding="utf-8") as terminal:
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            yield Console(file=terminal, highlight=False)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, nowhere):
            os.close(descriptor)

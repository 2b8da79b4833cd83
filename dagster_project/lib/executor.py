"""Execution of run requests by `make run`: GPU work in worker processes, everything else in this process.

Dagster has no queue without a daemon, and its daemon starts a process per run, which loads the project and torch: ten
seconds of a core for each of the lab's short tasks. So `make run` takes the same requests as the sensor, in the same
order, and executes them as Dagster runs of the same jobs, recorded in the same instance.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context

import dagster as dg
import psutil
from rich.console import Console

from dagster_project.environment import settings
from dagster_project.lib.due import Work
from dagster_project.lib.keys import GPU_POOL
from dagster_project.lib.locks import CUT_SHORT, MAKE_RUN_TAGS
from dagster_project.lib.progress import POLL_SECONDS, RunProgress, TaskDisplay, bars, catch_up, watch
from dagster_project.lib.run_requests import request_of

QUIET_LOGS = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run configuration that keeps Dagster's log lines off the terminal; the UI has them."""
KILLED = (
    "a process of this run was killed, perhaps because memory ran out; the remaining tasks are left to the next run; "
    "REWARDBASE_WORKERS=1 works on one model at a time"
)


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
            min(workers, len(works)), get_context("spawn"), initializer=_end_with_parent, initargs=(os.getpid(),)
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
                        failures += task.failures(_success(future))
                        display.end(task.place, time.monotonic() - task.began)
                        del at_work[future]
        except KeyboardInterrupt:
            for task in at_work.values():
                _tag_cut_short(instance, task.run_id)
            _interrupt_children()
            raise
        except BrokenProcessPool:
            failures.append(KILLED)
    return failures


def _execute_in_worker(request: dg.RunRequest, run_id: str) -> bool:
    with dg.DagsterInstance.get() as instance:
        return _execute_in_process(instance, request, run_id)


def _end_with_parent(parent: int) -> None:
    """In a worker process: end it, and the job that it started, within seconds of the parent's end, even by SIGKILL."""

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        os._exit(1)

    threading.Thread(target=watch_parent, name="parent", daemon=True).start()


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


def _interrupt_children() -> None:
    """Send Ctrl-C to every process that this one started: a terminal does so itself, another sender does not."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGINT)


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

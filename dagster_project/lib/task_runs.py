"""GPU tasks, each as a Dagster run of its partition, several at once where there is no GPU to share.

Processes and not threads: two runs in one process wait for each other's logging for ever.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import dagster as dg
import psutil
from rich.console import Console
from rich.progress import Progress

from dagster_project.lib.due import Task
from dagster_project.lib.locks import QUIET_LOGS, TAG
from dagster_project.lib.progress import POLL_SECONDS, Watched, bars, catch_up

WORKERS = "REWARDBASE_WORKERS"
POOL = "gpu"
KILLED = (
    "a process of this run was killed, perhaps for want of memory; what was not begun is left to the next run, which "
    f"works on one model at a time with {WORKERS}=1"
)
MOST_WORKERS = 2
"""On a machine without a GPU; each worker holds a model."""


def n_workers() -> int:
    """GPU tasks at work at once: REWARDBASE_WORKERS, or one where there is a GPU, or one per core, two at most."""
    asked = os.environ.get(WORKERS, "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return 1 if Path("/dev/nvidia0").exists() else min(MOST_WORKERS, os.cpu_count() or 1)


@dataclass
class _Run:
    """A task that waits, is at work, or is done."""

    task: Task
    number: int
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    seen: Watched = field(default_factory=Watched)
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def failures(self, success: bool) -> list[str]:
        found = self.seen.failures or ([] if success else [f"the run failed; its log: `make ui`, run {self.run_id}"])
        return [f"{self.task.words}: {message}" for message in found]


def run_tasks(instance: dg.DagsterInstance, tasks: Sequence[Task], console: Console) -> list[str]:
    """Work through the tasks; returns the messages of those that failed, each with the task's name before it.

    Raises KeyboardInterrupt after Ctrl-C, when the jobs at work have been ended; what they finished is kept.
    """
    workers = n_workers()
    instance.event_log_storage.set_concurrency_slots(POOL, workers)
    failures: list[str] = []
    waiting = [_Run(task, number) for number, task in enumerate(tasks, start=1)]
    at_work: dict[Future[bool], _Run] = {}
    with (
        bars(console) as bar,
        ProcessPoolExecutor(
            min(workers, len(tasks)), get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
        ) as pool,
    ):
        whole = bar.add_task("tasks", total=len(tasks))
        lines = {run.run_id: bar.add_task(run.task.words, total=None, visible=False) for run in waiting}
        try:
            while waiting or at_work:
                while waiting and len(at_work) < workers:
                    run = waiting.pop(0)
                    run.began = time.monotonic()
                    _say(console, f"Task {run.number} of {len(tasks)}: {run.task.words}")
                    bar.update(lines[run.run_id], visible=True)
                    at_work[pool.submit(_execute, run.task, run.run_id)] = run
                ended, _ = wait(at_work, POLL_SECONDS, FIRST_COMPLETED)
                for future, run in list(at_work.items()):
                    _show_news(instance, run, bar, lines[run.run_id])
                    if future in ended:
                        failures += run.failures(_success(future))
                        bar.update(lines[run.run_id], visible=False)
                        bar.advance(whole)
                        del at_work[future]
                        _say(console, f"  [{run.number}/{len(tasks)}] {run.task.words}: {run.seconds:.0f} s")
        except KeyboardInterrupt:
            _end_jobs()
            raise
        except BrokenProcessPool:
            failures.append(KILLED)
    return failures


def _end_with(parent: int) -> None:
    """In a process of the pool: end it, and the job that it started, soon after the parent is gone, however it went."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        for child in psutil.Process().children(recursive=True):
            child.terminate()
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _execute(task: Task, run_id: str) -> bool:
    """The Dagster run of a task, in a process of the pool; returns whether it succeeded."""
    job = _definitions().resolve_job_def(task.job).get_subset(asset_selection=set(task.assets))
    with dg.DagsterInstance.get() as instance:
        return job.execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config=QUIET_LOGS,
            tags=TAG,
            raise_on_error=False,
            partition_key=task.partition,
        ).success


@cache
def _definitions() -> dg.Definitions:
    """The code location, read once in each process."""
    from dagster_project.definitions import defs

    return defs()


def _success(future: Future[bool]) -> bool:
    """What the process said; a process that was killed did not succeed. Raises KeyboardInterrupt where it was that."""
    try:
        return future.result()
    except BrokenProcessPool:
        return False
    except dg.DagsterExecutionInterruptedError as error:
        raise KeyboardInterrupt from error


def _show_news(instance: dg.DagsterInstance, run: _Run, bar: Progress, line: object) -> None:
    """Take in what the run reported since the last look; its last words stand behind its name."""

    def show(text: str, _done: int) -> None:
        bar.update(line, description=f"{run.task.words}: {text}")  # type: ignore[arg-type]

    catch_up(instance, run.run_id, run.seen, show, True)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _end_jobs() -> None:
    """Ctrl-C to every process that this one started: a terminal sends it to them, too, another sender does not."""
    for child in psutil.Process().children(recursive=True):
        child.send_signal(signal.SIGINT)

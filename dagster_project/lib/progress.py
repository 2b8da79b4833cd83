"""Progress of runs, from Dagster's event stream: a bar on a terminal, plain lines elsewhere; messages of failures."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dagster as dg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PIPES = "[pipes]"
"""Start of the log lines that Dagster writes about a job's process itself."""
POLL_SECONDS = 1.0
"""Pause between two looks at the event log, in seconds; each look takes about 20 ms of the run's own core."""

Show = Callable[[str, int], None]
"""Called with each piece of news and the number of assets done."""


@dataclass
class RunProgress:
    """Events of a run so far."""

    done: set[str] = field(default_factory=set)
    cursor: str | None = None
    failures: list[str] = field(default_factory=list)
    interrupted: bool = False


def watch(
    instance: dg.DagsterInstance,
    run_id: str,
    total: int,
    work: Callable[[], bool],
    console: Console,
    *,
    with_messages: bool = False,
) -> list[str]:
    """Do `work` while a second thread shows the run's events; returns the messages of its failures.

    run_id: of the Dagster run that `work` executes. total: number of assets to materialize. with_messages: show log
    messages of steps, too (long jobs). `work` returns whether the run succeeded; a failure without a message is
    reported as such. It is done in the calling thread, so that Ctrl-C reaches Dagster, which ends the run cleanly.
    Raises KeyboardInterrupt then, and what `work` raises.
    """
    seen, ended = RunProgress(), threading.Event()
    with bars(console) as bar:
        task = bar.add_task("starting", total=total)

        def show(text: str, done: int) -> None:
            bar.update(task, completed=done, description=text)
            if not console.is_terminal:
                console.print(f"  [{done:>3}/{total}] {text}", markup=False)

        def read_events() -> None:
            catch_up(instance, run_id, seen, show, with_messages)

        def display() -> None:
            while not ended.wait(POLL_SECONDS):
                read_events()

        thread = threading.Thread(target=display, name="progress", daemon=True)
        thread.start()
        try:
            success = work()
        finally:
            ended.set()
            thread.join()
        read_events()
    if seen.interrupted:
        raise KeyboardInterrupt
    if not success and not seen.failures:
        seen.failures.append(f"the run failed; its log: `make ui`, run {run_id}")
    return seen.failures


def bars(console: Console) -> Progress:
    """Progress bars with the time left: on a terminal only, removed when they end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class TaskDisplay:
    """Progress of several runs at a time: a bar over all of them, and a line for each that is at work.

    titles: of the runs, in order. After each run the time left is estimated from the mean time per run so far.
    """

    def __init__(self, bar: Progress, console: Console, titles: Sequence[str]) -> None:
        self._bar, self._console, self._titles = bar, console, titles
        self._whole = bar.add_task("tasks", total=len(titles))
        self._lines: dict[int, TaskID] = {}
        self._began = time.monotonic()
        self._ended = 0

    def begin(self, place: int) -> None:
        """The run at `place`, from 0, begins."""
        self._lines[place] = self._bar.add_task(self._titles[place], total=None)
        self._print(f"Task {place + 1} of {len(self._titles)}: {self._titles[place]}")

    def show(self, place: int, text: str) -> None:
        """Show the latest message of a run behind its title; where there is no terminal, as a line with the time."""
        self._bar.update(self._lines[place], description=f"{self._titles[place]}: {text}")
        if not self._console.is_terminal:
            minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
            self._print(f"  [{place + 1}/{len(self._titles)}] {minutes:>3}:{seconds:02} {text}")

    def end(self, place: int, seconds: float, *, failed: bool = False) -> None:
        """The run ended after `seconds`, well or not."""
        self._bar.update(self._lines[place], visible=False)
        self._bar.advance(self._whole)
        self._ended += 1
        total = len(self._titles)
        left = (time.monotonic() - self._began) / self._ended * (total - self._ended)
        rest = f"; about {duration(left)} left" if self._ended < total else ""
        how = "FAILED after " if failed else ""
        self._print(f"  [{place + 1}/{total}] {self._titles[place]}: {how}{seconds:.0f} s{rest}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds below two minutes, otherwise minutes, otherwise hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def catch_up(instance: dg.DagsterInstance, run_id: str, seen: RunProgress, show: Show, with_messages: bool) -> None:
    """Read the events of a run since the cursor and show them."""
    more = True
    while more:
        found = instance.get_records_for_run(run_id, cursor=seen.cursor, limit=1000)
        seen.cursor, more = found.cursor, found.has_more
        for record in found.records:
            _take_in(record.event_log_entry, seen, show, with_messages)


def _take_in(entry: dg.EventLogEntry, seen: RunProgress, show: Show, with_messages: bool) -> None:
    event = entry.dagster_event
    if event is None:
        if with_messages and entry.level == logging.INFO and not entry.user_message.startswith(PIPES):
            show(entry.user_message, len(seen.done))
    elif event.is_step_materialization and event.asset_key is not None:
        name = event.asset_key.to_user_string()
        if name not in seen.done:
            seen.done.add(name)
            show(_materialized(event), len(seen.done))
    elif event.is_step_failure:
        error = event.step_failure_data.error
        seen.interrupted |= error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__
        seen.failures.append(_failure(event))
    elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION and _blocks(event):
        check = event.asset_check_evaluation_data
        reason = check.description or "it failed"
        seen.failures.append(f"check {check.check_name} of {check.asset_key.to_user_string()}: {reason}")


def _materialized(event: dg.DagsterEvent) -> str:
    """Name of a materialized asset, with its number of rows where it is known."""
    materialization = event.step_materialization_data.materialization
    rows = materialization.metadata.get("dagster/row_count")
    name = materialization.asset_key.to_user_string()
    return f"{name} ({rows.value} rows)" if rows is not None else name


def _blocks(event: dg.DagsterEvent) -> bool:
    check = event.asset_check_evaluation_data
    return bool(check.blocking) and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR


def _failure(event: dg.DagsterEvent) -> str:
    """The message of a dagster.Failure, or else of the error at the end of the chain of causes."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.message.strip() if error else 'failed'}"

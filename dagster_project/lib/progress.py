"""What a run shows of itself: a bar on a terminal, plain lines elsewhere; and the message of what failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dagster as dg
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

BUILT = "dbt built "
"""Begins the log line of each dbt model as it is built; its materialization comes when dbt has ended."""
POLL_SECONDS = 0.2


@dataclass
class Watched:
    """What has been seen of a run so far."""

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

    run_id: of the Dagster run that `work` executes. total: assets to be materialized. with_messages: show what steps
    say of themselves, too (jobs that take long). `work` returns whether the run succeeded; a failure without a message
    of its own is reported as such. It is done in the calling thread, so that Ctrl-C reaches Dagster, which ends the
    run in good order. Raises KeyboardInterrupt then, and what `work` raises.
    """
    seen, ended = Watched(), threading.Event()
    with bars(console) as bar:
        task = bar.add_task("starting", total=total)

        def show(text: str, done: int) -> None:
            _show(bar, task, console, total, text, done)

        def take_news() -> None:
            catch_up(instance, run_id, seen, show, with_messages)

        def display() -> None:
            while not ended.wait(POLL_SECONDS):
                take_news()

        thread = threading.Thread(target=display, name="progress", daemon=True)
        thread.start()
        try:
            success = work()
        finally:
            ended.set()
            thread.join()
        take_news()
    if seen.interrupted:
        raise KeyboardInterrupt
    if not success and not seen.failures:
        seen.failures.append(f"the run failed; its log: `make ui`, run {run_id}")
    return seen.failures


def bars(console: Console) -> Progress:
    """The display of bars: on a terminal only, and gone when it ends."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _show(bar: Progress, task: object, console: Console, total: int, text: str, done: int) -> None:
    bar.update(task, completed=done, description=text)  # type: ignore[arg-type]
    if not console.is_terminal:
        console.print(f"  [{done:>3}/{total}] {text}", markup=False)


def catch_up(
    instance: dg.DagsterInstance, run_id: str, seen: Watched, show: Callable[[str, int], None], with_messages: bool
) -> None:
    """Take in the events of a run since the cursor; `show` is told of each, with the number of assets done."""
    more = True
    while more:
        found = instance.get_records_for_run(run_id, cursor=seen.cursor, limit=1000)
        seen.cursor, more = found.cursor, found.has_more
        _take_in(found.records, seen, show, with_messages)


def _take_in(
    records: Sequence[dg.EventLogRecord], seen: Watched, show: Callable[[str, int], None], with_messages: bool
) -> None:
    for record in records:
        entry = record.event_log_entry
        event = entry.dagster_event
        if event is None:
            built = entry.user_message.removeprefix(BUILT)
            if built != entry.user_message:
                seen.done.add(built)
                show(built, len(seen.done))
            elif with_messages and entry.level == logging.INFO:
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
            said = f"{check.description or 'it failed'}"
            seen.failures.append(f"check {check.check_name} of {check.asset_key.to_user_string()}: {said}")


def _materialized(event: dg.DagsterEvent) -> str:
    """Name and, where it is known, number of rows of a materialized asset."""
    materialization = event.step_materialization_data.materialization
    rows = materialization.metadata.get("dagster/row_count")
    name = materialization.asset_key.to_user_string()
    return f"{name} ({rows.value} rows)" if rows is not None else name


def _blocks(event: dg.DagsterEvent) -> bool:
    check = event.asset_check_evaluation_data
    return bool(check.blocking) and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR


def _failure(event: dg.DagsterEvent) -> str:
    """The words of a dagster.Failure, or else the error's own."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return f"{event.step_key}: {error.message.strip() if error else 'failed'}"

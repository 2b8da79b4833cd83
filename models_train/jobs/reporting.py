"""Reports of a job: its progress, its figures, and why it failed.

They go to Dagster through Pipes where Dagster started the job, else to the terminal. Progress is a bar on a terminal,
and elsewhere a line every 30 seconds.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, Protocol

from dagster_pipes import PipesContext, PipesEnvVarParamsLoader, open_dagster_pipes
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models_train.errors import UserError, causes

FAILURE = "failure"
"""Key of the message that says why a job under Dagster failed."""
MAY_PASS = "may_pass"
"""Key that says whether the same job may succeed at another time."""
_PASSING_CLASSES = ("OutOfMemoryError", "MemoryError", "LocalEntryNotFoundError")
_PASSING_LIBRARIES = ("httpx", "httpcore", "requests", "urllib3")
_PASSING_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.ESTALE)
"""Of OSError: a full disk or memory, a file server that restarts."""

ASSET_KEY = "asset_key"
"""Extra in which Dagster names the asset of a job, where the step makes several."""
SECONDS_BETWEEN_LINES = 30.0
"""Shortest time between two lines of progress where there is no terminal, in seconds."""


class Reporter(Protocol):
    """Receiver of a job's reports."""

    def say(self, text: str) -> None:
        """One line of progress."""

    def done(self, metadata: Mapping[str, Any]) -> None:
        """The job's figures, once, at its end."""

    def fail(self, message: str) -> NoReturn:
        """End the job with a message: what is wrong, where, what to do."""


class _Terminal:
    def say(self, text: str) -> None:
        print(text, flush=True)

    def done(self, metadata: Mapping[str, Any]) -> None:
        for name, value in metadata.items():
            print(f"{name}: {value}", flush=True)

    def fail(self, message: str) -> NoReturn:
        sys.exit(message)


class _Pipes:
    def __init__(self, context: PipesContext) -> None:
        self._context = context

    def say(self, text: str) -> None:
        self._context.log.info(text)

    def done(self, metadata: Mapping[str, Any]) -> None:
        # A step that makes several assets names the one that this job is for.
        key = self._context.extras.get(ASSET_KEY)
        self._context.report_asset_materialization(metadata=dict(metadata), asset_key=key)

    def fail(self, message: str) -> NoReturn:
        # Of a process that fails, Dagster shows only the exit status: the text travels as a message.
        self._context.report_custom_message({FAILURE: message, MAY_PASS: may_pass(sys.exc_info()[1])})
        sys.exit(0)


class _Silent:
    def say(self, text: str) -> None:
        pass

    def done(self, metadata: Mapping[str, Any]) -> None:
        pass

    def fail(self, message: str) -> NoReturn:
        sys.exit(1)


class Notes:
    """The reporter of a process on another machine: its lines travel, and its job reports. say: takes a line."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def done(self, metadata: Mapping[str, Any]) -> None:
        """Nothing: the job reports its figures."""

    def fail(self, message: str) -> NoReturn:
        """Raise UserError, which the job reports."""
        raise UserError(message)


def may_pass(error: BaseException | None) -> bool:
    """True where an error, or one of its causes, is of a kind that may be gone at the next attempt.

    These are an unreachable network or hub (unless offline by choice: HF_HUB_OFFLINE), an overloaded hub (status 429 or
    from 500 on), GPU memory that another program holds, and a full disk.
    """
    chain = list(causes(error))
    if any(type(one).__name__ == "OfflineModeIsEnabled" for one in chain):
        return False
    return any(_passes(one) for one in chain)


def _passes(error: BaseException) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    kind = type(error)
    return (
        isinstance(error, ConnectionError | TimeoutError)
        or (isinstance(error, OSError) and error.errno in _PASSING_NUMBERS)
        or kind.__name__ in _PASSING_CLASSES
        or kind.__module__.split(".")[0] in _PASSING_LIBRARIES
    )


def is_first_process() -> bool:
    """False in all but the first process that torchrun started for a job: the others report nothing."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter of this process."""
    if not is_first_process():
        yield _Silent()
        return
    if not PipesEnvVarParamsLoader().is_dagster_pipes_process():
        yield _Terminal()
        return
    with open_dagster_pipes() as context:
        yield _Pipes(context)


class Counter:
    """Counts finished units, and shows them with the speed in tokens. show: takes the count and a text."""

    def __init__(self, done: int, show: Callable[[int, str], None]) -> None:
        self.done = done
        self._n_tokens = 0
        self._show = show
        self._began = time.monotonic()

    def advance(self, n: int = 1, n_tokens: int = 0, text: str = "") -> None:
        """Add n finished units of n_tokens tokens. text: the current work, with its figures."""
        self.done += n
        self._n_tokens += n_tokens
        seconds = time.monotonic() - self._began
        speed = f"{self._n_tokens / seconds:,.0f} tokens/s" if self._n_tokens and seconds > 0 else ""
        self._show(self.done, ", ".join(part for part in (text, speed) if part))


@contextmanager
def progress(report: Reporter, what: str, total: int, done: int = 0) -> Iterator[Counter]:
    """Show the progress of the work inside. what: name of its units. done: units of `total` finished before."""
    console = Console(file=sys.stderr)
    if not (console.is_terminal and is_first_process()):
        yield Counter(done, _Lines(report, what, total, done))
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done, text="")
        yield Counter(done, lambda done, text: bar.update(task, completed=done, text=text))


class _Lines:
    """A line of progress at most every SECONDS_BETWEEN_LINES, with the time left."""

    def __init__(self, report: Reporter, what: str, total: int, done: int) -> None:
        self._report, self._what, self._total, self._before = report, what, total, done
        self._began = self._last = time.monotonic()

    def __call__(self, done: int, text: str) -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        per_second = (done - self._before) / (now - self._began)
        left = f", {timedelta(seconds=round((self._total - done) / per_second))} left" if per_second > 0 else ""
        self._report.say(f"{self._what}: {done:,} of {self._total:,}{left}{': ' if text else ''}{text}")

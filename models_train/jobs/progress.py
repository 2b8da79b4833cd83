"""How far a long job is, and how fast: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from models_train.jobs.reporting import Reporter, is_first_process

SECONDS_BETWEEN_LINES = 30.0


class Counter:
    """Counts what is done and tells it on: units done, and a text with the speed."""

    def __init__(self, done: int, tell: Callable[[int, str], None]) -> None:
        self.done = done
        self._n_tokens = 0
        self._tell = tell
        self._began = time.monotonic()

    def advance(self, n: int = 1, n_tokens: int = 0, text: str = "") -> None:
        """n units more are done, with n_tokens tokens. text: what is being done, with its figures."""
        self.done += n
        self._n_tokens += n_tokens
        seconds = time.monotonic() - self._began
        speed = f"{self._n_tokens / seconds:,.0f} tokens/s" if self._n_tokens and seconds > 0 else ""
        self._tell(self.done, ", ".join(part for part in (text, speed) if part))


@contextmanager
def progress(report: Reporter, what: str, total: int, done: int = 0) -> Iterator[Counter]:
    """Show how far the work inside is. what: its units in words. done: of the `total`, before it begins."""
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
    """A line at most every 30 seconds, with the time that is left."""

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

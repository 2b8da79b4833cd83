"""What a long job shows of itself."""

from __future__ import annotations

import io
import sys

import pytest

from models_train.jobs import reporting as module
from models_train.jobs.reporting import progress


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def done(self, metadata: object) -> None:
        raise AssertionError("not the progress's to say")

    def fail(self, message: str) -> None:
        raise AssertionError(message)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_now_and_then_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 10.0, 10.0, 40.0, 40.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    report = Said()
    with progress(report, "steps", 100, done=10) as counter:
        counter.advance(5, 1000, "first")
        counter.advance(25, 3000, "run at step 7")
    assert report.lines == ["steps: 40 of 100, 0:01:20 left: run at step 7, 100 tokens/s"]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    report = Said()
    with progress(report, "steps", 3) as counter:
        counter.advance(3, 30, "run at step 3")
    assert "run at step 3" in terminal.getvalue() and "3/3" in terminal.getvalue()
    assert report.lines == []


def test_further_processes_of_torchrun_show_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("RANK", "1")
    with progress(Said(), "steps", 3) as counter:
        counter.advance(3)
    assert terminal.getvalue() == ""

"""Lines of progress of several runs at a time."""

from __future__ import annotations

import io
import re

from rich.console import Console

from dagster_project.lib.progress import TaskDisplay, bars


def test_the_line_of_a_failed_task_says_so() -> None:
    said = io.StringIO()
    console = Console(file=said, width=200)
    with bars(console) as bar:
        display = TaskDisplay(bar, console, ["good", "bad"])
        for place in range(2):
            display.begin(place)
            display.end(place, 12.0, failed=place == 1)
    assert "[1/2] good: 12 s" in said.getvalue() and "[2/2] bad: FAILED after 12 s" in said.getvalue()


def test_tasks_are_lines_in_a_file() -> None:
    file = io.StringIO()
    console = Console(file=file)
    with bars(console) as bar:
        display = TaskDisplay(bar, console, ["one [of] two", "two"])
        display.begin(0)
        display.show(0, "steps: 1 of 16, 0:01:20 left")
        display.end(0, 2.0)
    began, step, ended = file.getvalue().splitlines()
    assert began == "Task 1 of 2: one [of] two"
    assert re.fullmatch(r"  \[1/2\]   0:0\d steps: 1 of 16, 0:01:20 left", step)
    assert re.fullmatch(r"  \[1/2\] one \[of\] two: 2 s; about \d+ s left", ended)


def test_a_terminal_has_the_bar_alone() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True)
    with bars(console) as bar:
        display = TaskDisplay(bar, console, ["one"])
        display.begin(0)
        display.show(0, "a step")
    assert "0:00 a step" not in file.getvalue()

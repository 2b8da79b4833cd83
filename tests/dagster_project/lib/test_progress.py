"""Lines of progress of several runs at a time."""

from __future__ import annotations

import io

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

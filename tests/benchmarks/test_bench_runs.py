"""`make run` as a person waits for it: seconds to the first answer and to the end, of a second run, and memory.

The set-up is done, dbt's project included. REWARDBASE_BENCH_WHOLE=1 adds the lab, which takes a quarter of an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.programs import REPOSITORY, SHIPPED_STUDIES, run_program

pytestmark = pytest.mark.bench

OPTIONS = () if os.environ.get("REWARDBASE_BENCH_WHOLE") else ("--quick",)
PAUSE_SECONDS = 2.0
"""Pause between two looks at the memory, in seconds; each takes tens of milliseconds of a core."""


@dataclass
class Waited:
    """Seconds to the first answer (nan where nothing was new) and to the end; seconds of cores; most memory, bytes."""

    answer: float
    end: float
    cores: float
    memory: int


def wait_for_a_run(home: Path) -> Waited:
    """Run, and measure. Memory is the proportional set size of all processes of the run, sampled."""
    settings = {"REWARDBASE_HOME": str(home), "REWARDBASE_STUDIES": str(SHIPPED_STUDIES), "PYTHONUNBUFFERED": "1"}
    before, began, answer = os.times(), time.monotonic(), float("nan")
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.cli.run", *OPTIONS],
        cwd=REPOSITORY,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    most = [0]
    watcher = threading.Thread(target=watch_memory, args=(process, most), daemon=True)
    watcher.start()
    assert process.stdout is not None
    for line in process.stdout:
        if "This answer is published." in line:
            answer = time.monotonic() - began
    assert process.wait() == 0
    watcher.join()
    after = os.times()
    cores = after.children_user + after.children_system - before.children_user - before.children_system
    return Waited(answer, time.monotonic() - began, cores, most[0])


def watch_memory(process: subprocess.Popen[str], most: list[int]) -> None:
    """Keep the largest sum of the run's processes in most[0], until the run has ended."""
    while process.poll() is None:
        total = 0
        with suppress(psutil.Error):
            run = psutil.Process(process.pid)
            for one in (run, *run.children(recursive=True)):
                with suppress(psutil.Error):
                    total += one.memory_full_info().pss
        most[0] = max(most[0], total)
        time.sleep(PAUSE_SECONDS)


def test_first_answer_and_second_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    assert run_program("docs", home, "--parse-only").returncode == 0
    first, second = wait_for_a_run(home), wait_for_a_run(home)
    with capsys.disabled():
        for name, run in (("first run", first), ("second run", second)):
            print(
                f"\n{name}: answer after {run.answer:.1f} s, end after {run.end:.1f} s, {run.cores:.1f} s of cores, "
                f"most memory {run.memory / 2**30:.2f} GiB"
            )
    assert first.answer < first.end
    assert second.end < first.end / 3

"""A training that is stopped under Dagster: by Terminate in the UI, by the end of the UI, by SIGTERM to `make run`.

test_recovery.py has Ctrl-C of `make run`; for both signals the handler is the same.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.support.programs import REPOSITORY, environment
from tests.support.reward_studies import RECIPE, write_study

pytestmark = pytest.mark.slow

LONGEST_S = 60.0
START_LIMIT_S = 600
RUNS = "{ runsOrError(limit: 5) { ... on Runs { results { runId status jobName } } } }"
TERMINATE = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A folder of study files with one that trains for hours, by one objective."""
    write_study(tmp_path / "study", objectives=["bradley_terry"], bradley_terry=RECIPE | {"epochs": 100_000})
    return tmp_path / "study"


def at_step(home: Path) -> bool:
    """True while a training takes steps: its first checkpoint is on disk."""
    return any((home / "training").glob("*/*/*"))


def jobs_at_work(pid: int) -> list[psutil.Process]:
    """Processes below a program; their tree is gone when it is."""
    return psutil.Process(pid).children(recursive=True)


def is_at_work(process: psutil.Process) -> bool:
    """False for a process that ended, also where nobody has asked for its status: its parent is gone."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def training_runs(ui: SimpleNamespace, address: str) -> list[dict[str, Any]]:
    found = ui.ask(address, RUNS)
    return [run for run in found["runsOrError"]["results"] if run["jobName"] == "train_reward_models"] if found else []


def test_the_ui_terminates_a_training_and_ends_with_one(study: Path, tmp_path: Path, ui: SimpleNamespace) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with ui.at_work(home, REPOSITORY, REWARDBASE_LOOK_SECONDS="3", REWARDBASE_STUDIES=str(study)) as (address, said):
        ui.wait_for(lambda: at_step(home), START_LIMIT_S)
        (run,) = training_runs(ui, address)
        began = time.monotonic()
        assert ui.ask(address, TERMINATE, id=run["runId"])["terminateRun"]["__typename"] == "TerminateRunSuccess"
        ui.wait_for(lambda: training_runs(ui, address)[-1]["status"] == "CANCELED", LONGEST_S)
        assert time.monotonic() - began < LONGEST_S, said.read_text()[-2000:]
    assert list((home / "training").glob("*/*/*")), "what was trained is kept"


def test_make_run_ends_with_its_training(study: Path, tmp_path: Path, ui: SimpleNamespace) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.cli.run"],
        cwd=REPOSITORY,
        env=environment(home) | {"REWARDBASE_STUDIES": str(study)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        ui.wait_for(lambda: at_step(home), START_LIMIT_S)
        started = jobs_at_work(process.pid)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=200)
        assert time.monotonic() - began < LONGEST_S
        assert process.returncode == 130
        assert errors.strip() == "Interrupted. The published snapshot stays readable; `make run` resumes the work."
        ui.wait_for(lambda: not any(map(is_at_work, started)), LONGEST_S - (time.monotonic() - began))
    finally:
        if process.poll() is None:
            process.kill()

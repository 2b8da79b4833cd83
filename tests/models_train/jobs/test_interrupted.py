"""Training jobs that a person stops by Ctrl-C or a machine by SIGTERM, in each phase: they end in time and resume."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models_train.jobs.train_reward_model import main
from tests.support.data_files import REPOSITORY
from tests.support.reward_studies import RECIPE, arguments, results, write_study

pytestmark = pytest.mark.slow

LONGEST_S = 10.0
PHASES = {
    "reading data and base model": signal.SIGINT,
    "examples to train on": signal.SIGTERM,
    "measuring the selection bias": signal.SIGINT,
}
"""What a job says at the beginning of a phase -> signal that stops it then."""


def stopped(study: Path, home: Path, said: str, number: signal.Signals) -> tuple[int, str, float]:
    """Exit status, standard error and seconds of a job that is stopped when it has said something."""
    process = subprocess.Popen(
        [sys.executable, "-m", "models_train.jobs", "train_reward_model", *arguments(study, home)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if said in line:
            break
    began = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=200)
    return process.returncode, errors, time.monotonic() - began


def test_a_training_that_is_stopped_in_every_phase_ends_in_time_and_resumes(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", bradley_terry=RECIPE | {"epochs": 5})
    home = tmp_path / "home"
    for said, number in PHASES.items():
        status, errors, seconds = stopped(study, home, said, number)
        assert (status, errors.strip()) == (130, "Interrupted. The same command resumes the work."), said
        assert seconds < LONGEST_S, said
        assert not list(home.rglob("*.parquet")), said
    for where in (home, tmp_path / "undisturbed"):
        main(arguments(study, where))
    assert results(home) == results(tmp_path / "undisturbed")

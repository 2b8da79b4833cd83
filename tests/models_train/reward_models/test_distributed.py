"""FSDP2 on two processes of this machine trains as one process does, and their states are each other's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models_train.reward_models.distributed import shares
from models_train.reward_models.training import TrainingRun
from tests.support.sharded_worker import BFLOAT16
from tests.support.training_runs import plan, training_run

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of the runs of two processes."""
    folder = tmp_path_factory.mktemp("sharded")
    training_run(folder / "begun").advance(6)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "-m", "tests.support.sharded_worker", str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """The same training by one process."""
    run = training_run(tmp_path_factory.mktemp("alone"))
    run.advance(12)
    return run


def alike(run: TrainingRun, other: TrainingRun, tolerance: float = 1e-5) -> None:
    assert run.step == other.step == 12
    for key in ("loss", "gradient_norm"):
        given, wanted = (torch.tensor([row[key] for row in one.steps]) for one in (run, other))
        assert torch.allclose(given, wanted, rtol=tolerance, atol=tolerance), key
    assert [row["n_tokens"] for row in run.steps] == [row["n_tokens"] for row in other.steps]


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_offloaded"])
def test_two_processes_train_as_one(optimizer: Any, folders: Path, alone: TrainingRun) -> None:
    run = training_run(folders / ("whole" if optimizer == "adamw" else "offloaded"), how=plan(optimizer))
    alike(run, alone)
    given, wanted = run.best_model().classifier.state_dict(), alone.best_model().classifier.state_dict()
    for name, weight in wanted.items():
        assert torch.allclose(given[name], weight, atol=1e-5), name
    for mine, other in zip(run.checkpoints(), alone.checkpoints(), strict=True):
        assert mine.evaluation["margins"] == pytest.approx(other.evaluation["margins"], abs=1e-4)


def test_one_process_goes_on_where_two_stopped(folders: Path, alone: TrainingRun) -> None:
    run = training_run(folders / "half")
    assert run.step == 7
    run.advance(12)
    alike(run, alone)


def test_two_processes_go_on_where_one_stopped(folders: Path, alone: TrainingRun) -> None:
    alike(training_run(folders / "begun"), alone)


def test_bfloat16_with_float32_masters_sharded(folders: Path, tmp_path: Path) -> None:
    run = training_run(tmp_path, how=BFLOAT16)
    run.advance(12)
    sharded = training_run(folders / "bfloat16", how=BFLOAT16)
    alike(sharded, run, tolerance=0.02)
    given, wanted = sharded.best_model().classifier.state_dict(), run.best_model().classifier.state_dict()
    assert {name: weight.dtype for name, weight in given.items()} == {name: one.dtype for name, one in wanted.items()}


def test_packs_are_shared_evenly() -> None:
    given = shares([9, 1, 5, 4, 7, 7, 2], 3)
    assert sorted(index for own in given for index in own) == list(range(7))
    assert [sum([9, 1, 5, 4, 7, 7, 2][index] for index in own) for own in given] == [12, 12, 11]
    assert shares([3], 2) == [[0], []]

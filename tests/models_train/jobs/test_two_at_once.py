"""Two trainings at once under one limit of memory: beside each other where both fit, else one after the other."""

from __future__ import annotations

import os
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest

from models_train.reward_models.memory import PROCESS_BYTES
from tests.support.reward_studies import RECIPE, arguments, parts, write_study

pytestmark = pytest.mark.slow

# Each plans 11 MiB at least beside the process itself, 15 without gradient checkpointing.
WAITS = "needs the memory that other jobs have; waiting for them to end"
MIB = 1024**2


def train(study: Path, home: Path, objective: str, limit: int, said: Path) -> None:
    """In a process: the job under a limit in MiB, as Slurm sets it; what it says is written to a file."""
    os.environ |= {"SLURM_MEM_PER_NODE": str(limit), "REWARDBASE_WORKERS": "2"}
    with said.open("w") as file:
        sys.stdout = file
        from models_train.jobs.train_reward_model import main

        main(arguments(study, home, objective))


@pytest.mark.parametrize(
    ("limit", "waits"),
    [(2 * PROCESS_BYTES // MIB + 18, 1), (2 * PROCESS_BYTES // MIB + 200, 0)],
    ids=["one after the other", "beside each other"],
)
def test_both_end_well(limit: int, waits: int, tmp_path: Path) -> None:
    recipe = RECIPE | {"epochs": 2}
    study = write_study(tmp_path / "study", bradley_terry=recipe, regression=recipe)
    objectives = ("bradley_terry", "regression")
    forks = get_context("forkserver")
    forks.set_forkserver_preload(["models_train.jobs.train_reward_model"])
    jobs = [
        forks.Process(target=train, args=(study, tmp_path / "home", one, limit, tmp_path / one)) for one in objectives
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    assert parts(tmp_path / "home")["reward_model_searches"]["status"].to_list() == ["finished"]
    assert len(list((tmp_path / "home" / "reward_models").iterdir())) == 2
    assert sum((tmp_path / one).read_text().count(WAITS) for one in objectives) == waits

"""Training on two hosts in namespaces, by Ray Train, against torchrun on one; and a host that is lost on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.support import hosts
from tests.support.data_files import REPOSITORY
from tests.support.ray_hosts import RayHosts, environment, ray_hosts
from tests.support.reward_studies import RECIPE, arguments, parts, write_study

pytestmark = pytest.mark.bench

JOB = "models_train.jobs.train_reward_model"
EPOCHS, EVERY = 8, 4
SECONDS = 900


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rate: what is compared is a training run."""
    recipe = RECIPE | {"learning_rates": [1e-3], "epochs": EPOCHS, "checkpoint_every": EVERY}
    return write_study(tmp_path_factory.mktemp("study"), bradley_terry=recipe)


@pytest.fixture(scope="module")
def by_torchrun(study: Path) -> dict[str, pl.DataFrame]:
    """Parts of the search by two processes of this machine."""
    home = study.parent / "torchrun"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", JOB]
    own = environment() | {"REWARDBASE_RAY": ""}
    done = subprocess.run(
        [*command, *arguments(study, home)], env=own, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return parts(home)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RayHosts]:
    assert not hosts.missing(), hosts.missing()
    with ray_hosts(tmp_path, 2) as made:
        yield made


def begun(cluster: RayHosts, study: Path, home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", JOB, *arguments(study, home), "--devices", "2"]
    return cluster.head.popen(*command, environment=environment(), log=cluster.log)


def ended(job: subprocess.Popen[bytes], cluster: RayHosts) -> None:
    try:
        status = job.wait(SECONDS)
    finally:
        job.kill()
    assert status == 0, cluster.log.read_text()[-4000:]


def alike(home: Path, wanted: dict[str, pl.DataFrame], tolerance: float) -> None:
    """Losses and the chosen checkpoint."""
    found = parts(home)
    assert found["reward_model_steps"]["loss"].to_list() == pytest.approx(
        wanted["reward_model_steps"]["loss"].to_list(), abs=tolerance
    )
    chosen = ["training_run", "step", "validation_accuracy"]
    assert found["reward_model_searches"].select(chosen).equals(wanted["reward_model_searches"].select(chosen))


def largest(home: Path, wanted: dict[str, pl.DataFrame]) -> float:
    return float((parts(home)["reward_model_steps"]["loss"] - wanted["reward_model_steps"]["loss"]).abs().max())


def test_two_hosts_train_as_torchrun_does(
    cluster: RayHosts, study: Path, by_torchrun: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    began = time.monotonic()
    ended(begun(cluster, study, tmp_path / "home"), cluster)
    alike(tmp_path / "home", by_torchrun, 1e-6)
    cost = parts(tmp_path / "home")["run_costs"].to_dicts()[0]
    assert cost["n_devices"] == 2
    difference = largest(tmp_path / "home", by_torchrun)
    print(
        f"\nRay Train against torchrun: largest difference of a loss {difference:.1e}, {time.monotonic() - began:.0f} s"
    )


def test_a_host_is_lost(cluster: RayHosts, study: Path, by_torchrun: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    """The other one goes on by itself, from the saved state."""
    home = tmp_path / "home"
    job = begun(cluster, study, home)
    journal: list[dict[str, object]] = []
    ends = time.monotonic() + SECONDS
    while not any(row.get("step") == EVERY + 2 for row in journal):
        assert job.poll() is None and time.monotonic() < ends, cluster.log.read_text()[-4000:]
        journal = rows(home)
        time.sleep(0.02)
    cluster.network.hosts[2].kill()
    lost = time.monotonic()
    n_lines, gap = len(rows(home)), 0.0
    while job.poll() is None:
        assert time.monotonic() < ends, cluster.log.read_text()[-4000:]
        journal = rows(home) or journal
        gap = gap or (time.monotonic() - lost if len(journal) > n_lines else 0.0)
        time.sleep(0.1)
    ended(job, cluster)
    alike(home, by_torchrun, 1e-4)
    steps = [row["step"] for row in journal if row["event"] == "step"]
    repeated = len(steps) - len(set(steps))
    print(
        f"\nhost lost: goes on after {gap:.0f} s, {repeated} steps repeated, largest difference of a loss "
        f"{largest(home, by_torchrun):.1e}, load {os.getloadavg()[0]:.1f}"
    )
    assert repeated <= EVERY


def rows(home: Path) -> list[dict[str, object]]:
    """Lines of the training log that are whole."""
    found = []
    for path in home.glob("training/*/*/journal.jsonl"):
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                found.append(json.loads(line))
    return found

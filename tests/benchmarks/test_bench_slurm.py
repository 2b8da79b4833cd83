"""The shipped batch script and a job array on Slurm: two nodes in namespaces. Needs root and Debian's package lists."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import hosts
from tests.support.data_files import REPOSITORY
from tests.support.scoring_studies import arguments, costs, documents, parts, put_sample, run_job, scores, scoring_study
from tests.support.slurm import Slurm, slurm, unpacked

pytestmark = pytest.mark.bench

SHARDS = 40
SCRIPT = REPOSITORY / "dagster_project" / "deploy" / "slurm.sbatch"
JOB = [sys.executable, "-m", "models_train.jobs", "score_documents"]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    assert not hosts.missing(), hosts.missing()
    folder = tmp_path_factory.mktemp("slurm")
    with slurm(folder, unpacked(folder)) as made:
        yield made


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a home `alone`, which one process has scored."""
    path = scoring_study(tmp_path_factory.mktemp("study"), documents_per_shard=2)
    put_sample(path, path.parent / "alone", documents(2 * SHARDS))
    done = run_job(path, path.parent / "alone")
    assert done.returncode == 0, done.stderr
    return path


def home_of(study: Path, name: str) -> Path:
    put_sample(study, study.parent / name, documents(2 * SHARDS))
    return study.parent / name


def check(study: Path, home: Path) -> None:
    alone = study.parent / "alone"
    assert len(parts(home)) == SHARDS
    assert scores(home).equals(scores(alone))
    assert costs(home)["n_tokens"] == costs(alone)["n_tokens"]


def test_the_batch_script_makes_all_parts(cluster: Slurm, study: Path) -> None:
    home = home_of(study, "script")
    began = time.monotonic()
    job = cluster.submit("--nodes=2", str(SCRIPT), *JOB, *arguments(study, home))
    cluster.wait(lambda: set(cluster.states(job).values()) <= ENDED, 600)
    assert cluster.states(job) == {"": "COMPLETED"}, cluster.logs()
    check(study, home)
    print(f"\nbatch script: {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    for node in cluster.nodes:
        # But for zombies: the first process of a namespace takes care of none.
        left = node.run("pgrep", "--runstates", "D,R,S,T", "raylet", environment=cluster.environment)
        assert left.stdout == ""
    assert not Path(f"/tmp/rewardbase-{job}").exists() and not (REPOSITORY / f".rewardbase-{job}").exists()


def test_a_job_that_fails_fails_in_slurm(cluster: Slurm, study: Path) -> None:
    job = cluster.submit("--nodes=2", str(SCRIPT), *JOB, *arguments(study, study.parent / "nothing"))
    cluster.wait(lambda: set(cluster.states(job).values()) <= ENDED, 600)
    assert cluster.states(job) == {"": "FAILED"}, cluster.logs()
    (log,) = cluster.folder.glob(f"job-{job}-*.log")
    assert "no sample of documents; run `python -m" in log.read_text()


def test_an_array_of_which_a_node_is_killed(cluster: Slurm, study: Path) -> None:
    """Four tasks, each of which takes a while to begin; the second node dies with its task."""
    home = home_of(study, "array")
    command = f"sleep 5; exec {shlex.join([*JOB, *arguments(study, home)])}"
    share = "--split $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
    began = time.monotonic()
    job = cluster.submit("--array=0-3", "--requeue", "--ntasks=1", "--wrap", f"{command} {share}")
    cluster.wait(lambda: "node2" in cluster.command("squeue", "--noheader", "--states=R", "--format=%N"), 60)
    cluster.nodes[1].kill()
    cluster.wait(lambda: set(cluster.states(job).values()) <= ENDED, 600)
    assert set(cluster.states(job).values()) == {"COMPLETED"}, cluster.logs()
    check(study, home)
    restarts = [word for word in cluster.command("scontrol", "-o", "show", "job", job).split() if "Restarts=" in word]
    assert "Restarts=1" in restarts
    print(f"\narray with a node killed: {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)

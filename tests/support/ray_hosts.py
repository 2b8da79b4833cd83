"""A Ray cluster over hosts in namespaces, and scoring jobs on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from models_train import telemetry
from tests.support.data_files import REPOSITORY
from tests.support.hosts import Host, Network, network
from tests.support.scoring_studies import arguments

TOKEN = "a-token-of-the-tests-0123456789abcdef"
PORT = 6379
RAY = str(Path(sys.executable).with_name("ray"))


def environment(**more: str) -> dict[str, str]:
    """The environment of a machine of the cluster: no token of this machine's user, none of its own settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "REWARDBASE_"))}
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "REWARDBASE_RAY": "auto", "OMP_NUM_THREADS": "1"}
    # On busy cores a start takes longer than Ray waits for it.
    settings |= {"RAY_raylet_start_wait_time_s": "300"}
    return own | telemetry.OFF | settings | {"PYTHONPATH": str(REPOSITORY)} | more


@dataclass
class RayHosts:
    """A cluster whose head is the first host, without a core for workers."""

    network: Network
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> Host:
        """The first host."""
        return self.network.hosts[0]

    def start(self, host: Host, cores: int) -> None:
        """Start Ray on a host: the head on the first, else a member. cores: that workers may use."""
        where = ["--head", f"--port={PORT}"] if host is self.head else [f"--address={self.head.address}:{PORT}"]
        command = [RAY, "start", *where, f"--node-ip-address={host.address}", f"--num-cpus={cores}"]
        command += ["--include-dashboard=false"] if host is self.head else []
        done = host.run(*command, "--object-store-memory=100000000", environment=environment(**self.settings))
        assert done.returncode == 0, done.stdout + done.stderr

    def add(self, cores: int = 1, pinned: str | None = None) -> Host:
        """A further host, which joins."""
        host = self.network.host(pinned)
        self.start(host, cores)
        return host

    def score(self, study: Path, home: Path, *more: str) -> subprocess.Popen[bytes]:
        """The scoring job on the head; its output is in `job.log` of the folder."""
        command = [sys.executable, "-m", "models_train.jobs.score_documents", *arguments(study, home), *more]
        return self.head.popen(*command, environment=environment(**self.settings), log=self.log)

    @property
    def log(self) -> Path:
        """Output of the jobs."""
        return self.folder / "job.log"

    def workers(self, host: Host) -> list[tuple[int, int]]:
        """Age in seconds, and process id, of each worker of a host."""
        found = host.run("ps", "-eo", "etimes=,pid=,args=", environment=environment())
        words = [line.split() for line in found.stdout.splitlines() if "ray::MapWorker" in line]
        return [(int(seconds), int(process)) for seconds, process, *_ in words]


@contextmanager
def ray_hosts(folder: Path, n: int = 0, cores: int = 1, head_cores: int = 0, **settings: str) -> Iterator[RayHosts]:
    """A cluster of a head and n further hosts. cores: for workers on each. settings: of the environment."""
    with network(folder / "hosts") as made:
        cluster = RayHosts(made, folder, settings)
        cluster.add(head_cores)
        for _ in range(n):
            cluster.add(cores)
        yield cluster

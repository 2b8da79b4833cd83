"""Slurm on hosts in namespaces: Debian's packages, unpacked and not installed; the first host is the controller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.hosts import Host, Network, network
from tests.support.ray_hosts import environment

PACKAGES = (
    *("slurm-client", "slurmctld", "slurmd", "slurm-wlm-basic-plugins"),
    *("munge", "libmunge2", "libhwloc15", "libjson-c5"),
)
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOST_AFTER = 20
"""Seconds from the last answer of a node until its jobs are queued again; 300 by default."""


def unpacked(folder: Path) -> Path:
    """The packages below a folder. Needs the package lists of Debian's mirror (`apt-get update`)."""
    downloads, root = folder / "packages", folder / "root"
    downloads.mkdir(parents=True)
    subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=downloads, check=True, capture_output=True)
    for package in downloads.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    return root


@dataclass
class Slurm:
    """A cluster of two nodes of one core; the controller is a daemon on the first."""

    network: Network
    folder: Path
    root: Path

    @property
    def nodes(self) -> Sequence[Host]:
        """The nodes."""
        return self.network.hosts

    @property
    def environment(self) -> dict[str, str]:
        """What Slurm's programs need, beside what a machine of the tests has."""
        libraries = f"{self.root / LIBRARIES}:{self.root / LIBRARIES / 'slurm-wlm'}"
        path = f"{self.root / 'usr/bin'}:{os.environ['PATH']}"
        own = {"LD_LIBRARY_PATH": libraries, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}
        ours = {name: value for name, value in environment().items() if not name.startswith(("RAY_", "REWARDBASE_"))}
        return ours | own | {"REWARDBASE_BIN": str(Path(sys.executable).parent)}

    def start(self) -> None:
        """Start the daemons; returns when both nodes are idle."""
        self.folder.mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(64))
        (self.folder / "munge.key").chmod(0o600)
        for name in ("state", "spool-node1", "spool-node2", "munge-node1", "munge-node2"):
            (self.folder / name).mkdir()
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\n")
        (self.folder / "slurm.conf").write_text(self._configuration())
        for node in self.nodes:
            self._munge(node)
        self._daemon(self.nodes[0], "slurmctld", str(self.root / "usr/sbin/slurmctld-wlm"), "-D", "-i")
        for node in self.nodes:
            self.start_node(node)
        self.wait(lambda: self.command("sinfo", "--noheader", "--format=%t %D").split() == ["idle", "2"], 120)

    def start_node(self, node: Host) -> None:
        """Start the daemon of a node."""
        step = str(self.root / "usr/sbin/slurmstepd-wlm")
        self._daemon(node, "slurmd", str(self.root / "usr/sbin/slurmd-wlm"), "-D", "-N", node.name, "-d", step)

    def _munge(self, node: Host) -> None:
        place = self.folder / f"munge-{node.name}"
        files = [f"--key-file={self.folder / 'munge.key'}", f"--socket={self._socket()}"]
        files += [f"--{kind}-file={place / kind}" for kind in ("pid", "log", "seed")]
        self._daemon(node, "munged", str(self.root / "usr/sbin/munged"), "--force", "--foreground", *files)

    def _socket(self) -> str:
        return "/tmp/ray/munge"

    def _daemon(self, node: Host, name: str, *command: str) -> None:
        node.popen(*command, environment=self.environment, log=self.folder / f"{name}-{node.name}.log")

    def _configuration(self) -> str:
        nodes = [f"NodeName={node.name} NodeAddr={node.address} CPUs=1 State=UNKNOWN" for node in self.nodes]
        lines = [
            "ClusterName=test",
            f"SlurmctldHost=node1({self.nodes[0].address})",
            "AuthType=auth/munge",
            "AuthInfo=socket=/tmp/ray/munge",
            "SlurmUser=root",
            f"StateSaveLocation={self.folder / 'state'}",
            f"SlurmdSpoolDir={self.folder}/spool-%n",
            "SlurmdPidFile=/tmp/ray/slurmd.pid",
            "SlurmctldPidFile=/tmp/ray/slurmctld.pid",
            f"PluginDir={self.root / LIBRARIES / 'slurm-wlm'}",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core",
            "SchedulerType=sched/builtin",
            "MpiDefault=none",
            "SwitchType=switch/none",
            "ReturnToService=2",
            "SlurmdParameters=config_overrides",
            "PropagateResourceLimits=NONE",
            "JobRequeue=1",
            f"SlurmdTimeout={LOST_AFTER}",
            *nodes,
            "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
        ]
        return "\n".join(lines) + "\n"

    def command(self, *words: str) -> str:
        """Output of one of Slurm's commands, given on the controller."""
        done = self.nodes[0].run(*words, environment=self.environment)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *words: str) -> str:
        """Submit a job; returns its number."""
        output = f"--output={self.folder}/job-%A-%a.log"
        return self.command("sbatch", "--parsable", output, *words).strip()

    def states(self, job: str) -> dict[str, str]:
        """State of a job, or of each task of an array."""
        found = {}
        for line in self.command("scontrol", "--oneliner", "show", "job", job).splitlines():
            fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
            found[fields.get("ArrayTaskId", "")] = fields["JobState"]
        return found

    def logs(self) -> str:
        """What the jobs and the daemons said, for a failed test."""
        return json.dumps({path.name: path.read_text()[-2500:] for path in sorted(self.folder.glob("*.log"))}, indent=1)

    def wait(self, condition: Callable[[], object], seconds: float) -> None:
        """Wait for something."""
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, self.logs()
            time.sleep(0.5)


@contextmanager
def slurm(folder: Path, root: Path) -> Iterator[Slurm]:
    """Two nodes at work."""
    with network(folder / "hosts") as made:
        for _ in range(2):
            made.host()
        cluster = Slurm(made, folder / "slurm", root)
        cluster.start()
        yield cluster

"""Hosts of a small network on one machine: namespaces with an address, processes, a name and a /tmp/ray of their own.

They share the file system otherwise, as the nodes of a cluster share theirs. A host that is killed loses all of its
processes at once, as at a loss of power; a link that is cut loses packets without a word. Needs root and iproute2.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_SECONDS = 20.0


def missing() -> str:
    """What this machine lacks for hosts of namespaces; empty where nothing is missing."""
    if os.geteuid() != 0:
        return "hosts in namespaces need root"
    lacking = [program for program in ("ip", "unshare", "nsenter") if shutil.which(program) is None]
    return f"hosts in namespaces need {', '.join(lacking)} (Debian: iproute2, util-linux)" if lacking else ""


@dataclass
class Host:
    """A host: its name, its address, and the network namespace that it is in. init: its first process."""

    name: str
    address: str
    namespace: str
    link: str
    init: subprocess.Popen[bytes]
    cores: str | None = None

    def command(self, *command: str) -> list[str]:
        """The command line that runs a command on this host."""
        pinned = ["taskset", "--cpu-list", self.cores] if self.cores else []
        enter = [
            "nsenter",
            "--target",
            str(self._first()),
            "--mount",
            "--uts",
            "--pid",
            "--net",
            f"--wdns={os.getcwd()}",
        ]
        return [*enter, *pinned, *command]

    def popen(self, *command: str, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command on this host; its output goes to the end of a file."""
        with log.open("ab") as out:
            return subprocess.Popen(self.command(*command), env=dict(environment), stdout=out, stderr=out)

    def run(
        self, *command: str, environment: Mapping[str, str], seconds: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this host to its end."""
        return subprocess.run(
            self.command(*command),
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _first(self) -> int:
        """Process id, as this machine sees it, of the first process in the host's own namespace of processes."""
        children = Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text().split()
        return int(children[0])

    def kill(self) -> None:
        """Take the power away: the kernel kills every process of a namespace with its first one."""
        if self.init.poll() is None:
            os.kill(self._first(), signal.SIGKILL)
            self.init.wait()

    @property
    def is_up(self) -> bool:
        """Whether the host was not killed."""
        return self.init.poll() is None


@dataclass
class Network:
    """Hosts that reach each other at 10.77.0.x; nobody else reaches them, and they reach nobody else."""

    folder: Path
    name: str = field(default_factory=lambda: f"rb{uuid.uuid4().hex[:6]}")
    hosts: list[Host] = field(default_factory=list)

    @property
    def _switch(self) -> str:
        return f"{self.name}-switch"

    def open(self) -> None:
        """Make the switch."""
        _ip("netns", "add", self._switch)
        self._in_switch("link", "add", "switch", "type", "bridge")
        self._in_switch("link", "set", "switch", "up")

    def host(self, cores: str | None = None) -> Host:
        """A further host. cores: of this machine that its commands run on, as `taskset` takes them."""
        number = len(self.hosts) + 1
        name, link = f"node{number}", f"link{number}"
        namespace, address = f"{self.name}-{name}", f"10.77.0.{number}"
        _ip("netns", "add", namespace)
        _ip("-n", self._switch, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        self._in_switch("link", "set", link, "master", "switch", "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            _ip("-n", namespace, *words)
        own = self.folder / name
        own.mkdir(parents=True)
        names = self.folder / "names"
        with names.open("a") as file:
            file.write(f"{address} {name}\n" if number > 1 else f"127.0.0.1 localhost\n{address} {name}\n")
        Path("/tmp/ray").mkdir(exist_ok=True)
        script = (
            f"hostname {name} && mount --bind {own} /tmp/ray && mount --bind {names} /etc/hosts && "
            f"mount -t tmpfs -o size=2g tmpfs /dev/shm && touch {own}/.up && exec sleep infinity"
        )
        # The host ends with the program that made it, also where that is killed.
        own_spaces = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ]
        init = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *own_spaces, "sh", "-c", script],
            stderr=subprocess.DEVNULL,  # unshare reports a signal mask that it cannot set back
        )
        host = Host(name, address, namespace, link, init, cores)
        self.hosts.append(host)
        ends = time.monotonic() + START_SECONDS
        while not (own / ".up").exists():
            assert init.poll() is None and time.monotonic() < ends, f"{name} did not start"
            time.sleep(0.02)
        return host

    def cut(self, host: Host) -> None:
        """Cut the link of a host: packets are lost in both directions."""
        self._in_switch("link", "set", host.link, "down")

    def join(self, host: Host) -> None:
        """Mend the link of a host."""
        self._in_switch("link", "set", host.link, "up")

    def close(self) -> None:
        """Kill the hosts and remove their namespaces; mounts go with them."""
        for host in self.hosts:
            host.kill()
            _ip("netns", "delete", host.namespace, check=False)
        _ip("netns", "delete", self._switch, check=False)

    def _in_switch(self, *words: str) -> None:
        _ip("-n", self._switch, *words)


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A network without hosts; all that belongs to it is gone at the end."""
    made = Network(folder)
    try:
        made.open()
        yield made
    finally:
        made.close()


def _ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr.strip()}"


def commands(host: Host) -> Sequence[str]:
    """Command lines of the processes of a host."""
    found = host.run("ps", "-eo", "pid,args", environment=os.environ)
    return found.stdout.splitlines()

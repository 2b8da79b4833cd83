"""A real Ray head on 127.0.0.1 that asks for a token, ended with all that it started; and runs that use it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from models_train import telemetry
from models_train.processes import end_processes, tree
from tests.support.data_files import REPOSITORY

TOKEN = "a-token-of-the-tests-ThatMustNotBeSeen-0123456789"
SECONDS_TO_START = 180.0


@dataclass
class Head:
    """A head: the http address of its dashboard, and the environment of those who use it."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a run that sends its jobs there."""
        return {"REWARDBASE_RAY": self.url, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}

    def jobs(self) -> dict[str, str]:
        """Status of every job by its name. The token has to be in this process's environment."""
        from ray.job_submission import JobSubmissionClient

        return {str(job.submission_id): str(job.status) for job in JobSubmissionClient(self.url).list_jobs()}

    def job(self, name: str) -> Any:
        """All that the cluster shows of a job."""
        from ray.job_submission import JobSubmissionClient

        return JobSubmissionClient(self.url).get_job_info(name)


@contextmanager
def ray_head() -> Iterator[Head]:
    """A head with one core, in a session of its own. It has no settings of this project, and no secrets."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "REWARDBASE_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "PATH": path, "PYTHONPATH": str(REPOSITORY)}
    ports = free_ports(3)
    folder = tempfile.mkdtemp(prefix="rewardbase-ray-", dir="/tmp")  # a longer path is none for Ray's sockets
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    command += [f"--port={ports[0]}", "--dashboard-host=127.0.0.1", f"--dashboard-port={ports[1]}", "--num-cpus=1"]
    command += [f"--ray-client-server-port={ports[2]}", f"--temp-dir={folder}", "--object-store-memory=100000000"]
    with open(Path(folder) / "head.log", "wb") as log:
        program = subprocess.Popen(
            command, env=own | telemetry.OFF | settings, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    try:
        _wait_for(f"http://127.0.0.1:{ports[1]}", program)
        yield Head(f"http://127.0.0.1:{ports[1]}")
    finally:
        end_processes(tree(program.pid), seconds=5.0)
        program.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url: str, program: subprocess.Popen[bytes]) -> None:
    """Wait until the dashboard refuses somebody without a token."""
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until:
        assert program.poll() is None, "Ray's head ended"
        try:
            urlopen(f"{url}/api/jobs/", timeout=5).close()
            raise AssertionError("the head asks for no token")
        except HTTPError as error:
            if error.code == 401:
                return
        except (URLError, OSError):
            pass
        time.sleep(0.3)
    raise AssertionError("Ray's head did not start in time")


def free_ports(n: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens at."""
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports

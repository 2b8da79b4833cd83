"""The project's programs as a person starts them, each in a home of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED_STUDIES = REPOSITORY / "dagster_project" / "studies"
RUN_LIMIT_S = 2400

SECRETS = {
    "HF_TOKEN": "hf_NotARealTokenButOneThatMustNotBeSeen",
    "REWARDBASE_ALERTS": "json://user:NotARealPasswordButOneThatMustNotBeSeen@127.0.0.1:9/alerts",
}
"""Variable -> value. (Nothing listens at the address of the alerts.)"""

MARK = "ThatMustNotBeSeen"
"""What all of them have in them, and nothing else."""

# The runs of tests take the published study alone: the lab that ships beside it trains for minutes, and test_lab.py
# runs a small one. Set before anything reads where the study files are.
STUDIES = Path(tempfile.mkdtemp(prefix="rewardbase-studies-"))
shutil.copy(SHIPPED_STUDIES / "published.yaml", STUDIES)
os.environ["REWARDBASE_STUDIES"] = str(STUDIES)
atexit.register(shutil.rmtree, STUDIES, ignore_errors=True)


def environment(home: Path, project: Path = REPOSITORY) -> dict[str, str]:
    """What a program of `project` finds in its environment: its home, and secrets, which it must leave nowhere."""
    studies = STUDIES if project == REPOSITORY else project / "dagster_project" / "studies"
    path = os.pathsep.join(filter(None, (str(project), os.environ.get("PYTHONPATH"))))
    places = {"REWARDBASE_HOME": str(home), "REWARDBASE_STUDIES": str(studies), "PYTHONPATH": path}
    return os.environ | places | {"COLUMNS": "160"} | SECRETS


def run_program(name: str, home: Path, *arguments: str, project: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run `python -m dagster_project.cli.<name>` to its end."""
    return subprocess.run(
        [sys.executable, "-m", f"dagster_project.cli.{name}", *arguments],
        cwd=project,
        env=environment(home, project),
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )


def run_rewardbase(home: Path, *arguments: str, project: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """`make run` without the set-up."""
    return run_program("run", home, *arguments, project=project)


@contextmanager
def started(project: Path, home: Path, until: str) -> Iterator[subprocess.Popen[str]]:
    """`make run` in a process group of its own, when it has said `until`; it is killed at the end, if need be."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project.cli.run"],
        cwd=project,
        env=environment(home, project),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if until in line:
                break
        else:
            raise AssertionError(f"the run ended before it said {until!r}: {process.communicate()}")
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listening(pid: int) -> set[str]:
    """Addresses `host:port` of every listening TCP socket of a process and its descendants."""
    root = psutil.Process(pid)
    found = set()
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # one that has ended listens no more
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add(f"{connection.laddr.ip}:{connection.laddr.port}")
    return found


def files_with_secrets(folder: Path) -> list[str]:
    """Files below a folder that hold the telling part of one of SECRETS, in their name or in their bytes."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if MARK in path.name or (path.is_file() and MARK.encode() in path.read_bytes())
    ]

"""Tests of programs that policies wrote. Off unless the study says `allow_code: true`.

Each program runs in a process of its own (`isolated`): `python -I -S` in an empty folder, without environment, network,
rights, further processes, or files that it could write; with limits of time and memory. Where the machine does not
permit that, nothing runs, and every response has the status REFUSED. A program that means to can pretend to pass, as
with all tests in its own process: the check is for policies, not for adversaries who know it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path
from signal import SIGKILL
from typing import Any

from models_train.checks import isolated
from models_train.checks.verdict import NOT_APPLICABLE, OK, TIMEOUT, Verdict
from models_train.processes import send_signal, tree

REFUSED = "refused: no isolation"
WALL_SECONDS = 5.5
"""Time that a program has from its start, in seconds; of CPU it has `isolated.CPU_SECONDS`."""
_MOST_BYTES = 4096
"""Longest answer of the process that runs a program."""
_FENCED = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_PYTHON = ("", "python", "py", "python3")
"""Languages of blocks that count as programs."""
_NAMESPACES = ("--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
_PROBE = """
import json, math, os, socket
def refused(work):
    try:
        work()
    except OSError:
        return True
def write():
    open(os.path.join({folder!r}, "probe"), "w")
"""
_PROBES = (
    "assert refused(os.fork)",
    "assert refused(write)",
    "assert refused(lambda: open('probe', 'w'))",
    "assert refused(lambda: socket.create_connection(('127.0.0.1', {port}), 1))",
    "assert set(os.environ) <= set(['LC_CTYPE'])",  # which Python sets itself
)


def tests_of(gold: str | None) -> list[str] | None:
    """The tests of a prompt: its gold is a test, a list of tests, or an object with `tests`; None for any other."""
    try:
        found = json.loads(gold or "null")
    except ValueError:
        return None
    if isinstance(found, dict):
        found = found.get("tests")
    tests = [found] if isinstance(found, str) else found
    is_text = isinstance(tests, list) and bool(tests) and all(isinstance(one, str) and one.strip() for one in tests)
    return tests if is_text else None


def program_of(text: str) -> str:
    """The program of a response: its blocks of Python, or where there is none the whole text."""
    blocks = [block for language, block in _FENCED.findall(text) if language.lower() in _PYTHON]
    return "\n".join(blocks) if blocks else text


def check(text: str, gold: str | None) -> Verdict:
    """The share of the tests that a response passes. Reaching out for what a program may not have is an error."""
    tests = tests_of(gold)
    if tests is None:
        return Verdict(NOT_APPLICABLE, detail="the prompt has no tests")
    if not is_isolated():
        return Verdict(REFUSED)
    return run(program_of(text), tests)


@cache
def is_isolated() -> bool:
    """Whether a program on this machine is kept from processes, files and network: tried once, with one that tries."""
    if _command() is None:
        return False
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        os.chmod(folder, 0o777)
        tests = [test.format(port=server.getsockname()[1]) for test in _PROBES]
        return run(_PROBE.format(folder=folder), tests).value == 1.0


def run(program: str, tests: list[str]) -> Verdict:
    """Run a program and its tests in a process of its own, which is gone when this returns."""
    command = _command()
    if command is None:
        return Verdict(REFUSED)
    key = secrets.token_hex(16)
    request = json.dumps({"program": program, "tests": tests, "key": key}).encode()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        empty, library = Path(folder, "empty"), Path(folder, "library")
        empty.mkdir()
        library.mkdir()
        answer, status, is_late = _answer([*command, str(library)], request, empty)
    seconds = time.monotonic() - began
    if answer.startswith(key):
        return _verdict(json.loads(answer.removeprefix(key)), len(tests), seconds)
    if is_late or seconds >= isolated.CPU_SECONDS - 0.5:
        return Verdict(TIMEOUT, seconds=seconds)
    return Verdict(f"error: the program ended without an outcome (status {status})", seconds=seconds)


def _answer(command: list[str], request: bytes, folder: Path) -> tuple[str, int, bool]:
    """What the process wrote, its exit status, and whether its time was over."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        send_signal(tree(process.pid), SIGKILL)  # the first process of the namespace takes all others with it

    timer = threading.Timer(WALL_SECONDS, end)
    timer.start()
    assert process.stdin is not None and process.stdout is not None
    try:
        try:
            process.stdin.write(request)
            process.stdin.close()
        except BrokenPipeError:
            pass
        found = process.stdout.read(_MOST_BYTES)
        if len(found) < _MOST_BYTES:
            process.wait()
    finally:
        timer.cancel()
        send_signal(tree(process.pid), SIGKILL)
        process.stdout.close()
        status = process.wait()
    return found.decode(errors="replace"), status, is_late.is_set()


def _verdict(found: dict[str, Any], n_tests: int, seconds: float) -> Verdict:
    if "reached_out" in found:
        return Verdict(f"error: {found['reached_out']}", seconds=seconds)
    failed = n_tests - found["passed"]
    detail = f"{failed} of {n_tests} tests fail: {found['failure']}" if failed else None
    return Verdict(OK, found["passed"] / n_tests, detail, seconds)


@cache
def _command() -> list[str] | None:
    """The command that runs `isolated` in namespaces of its own, and ends it with this process; None without the
    programs for that."""
    unshare, setpriv = shutil.which("unshare"), shutil.which("setpriv")
    if sys.platform != "linux" or unshare is None or setpriv is None:
        return None
    is_root = os.geteuid() == 0
    users = () if is_root else ("--user", "--map-root-user")
    python = (sys.executable, "-I", "-S", str(Path(isolated.__file__)), "root" if is_root else "user")
    return [setpriv, "--pdeathsig", "KILL", unshare, *_NAMESPACES, *users, *python]

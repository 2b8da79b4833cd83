"""Programs that policies wrote: what passes, and what hostile ones can do, which is nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from models_train.checks import code_tests
from models_train.checks.code_tests import REFUSED, check, is_isolated, program_of, run
from models_train.checks.code_tests import tests_of as texts_of_tests
from models_train.checks.verdict import NOT_APPLICABLE, OK, TIMEOUT
from tests.support.programs import REPOSITORY

SYSTEM_PYTHON = "/usr/bin/python3"
LONGEST_SECONDS = 6.0
TESTS = ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"]
MARK = "left_by_a_hostile_program"
HOSTILE = {
    "fork bomb": ("import os\nwhile True: os.fork()", "error: BlockingIOError"),
    "patient fork bomb": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", TIMEOUT),
    "file": ("open('{outside}/{mark}', 'w').write('x')", "error: "),
    "file in its own folder": ("open('{mark}', 'w').write('x' * 2**21)", "error: OSError: [Errno 30]"),
    "shared memory": ("open('/dev/shm/{mark}', 'w')", "error: OSError: [Errno 30]"),
    "socket": ("import socket\nsocket.create_connection(('127.0.0.1', {port}))", "error: "),
    "name of a host": ("import socket\nsocket.getaddrinfo('example.org', 80)", "error: gaierror"),
    "endless loop": ("while True: pass", TIMEOUT),
    "endless sleep in its own session": ("import os, time\nos.setsid()\ntime.sleep(1000)", TIMEOUT),
    "string of 10 GB": ("x = 'x' * 10**10", "error: MemoryError"),
    "lists without end": ("x = []\nwhile True: x.append('x' * 10**6)", "error: MemoryError"),
    "output without end": ("while True: print('x' * 10**6)", TIMEOUT),
    "flooded pipes": (
        "import os\nfor one in range(3, 64):\n    try:\n        while True: os.write(one, b'x' * 65536)\n"
        "    except OSError: pass",
        "error: the program ended without an outcome",
    ),
    "signal to everybody": ("import os, signal\nos.kill(-1, signal.SIGKILL)", "error: ProcessLookupError"),
    "signal to its parent": ("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", OK),
    "end before the tests": ("import os\nos._exit(0)", "error: the program ended without an outcome (status 0)"),
    "crash": ("import ctypes\nctypes.string_at(0)", "error: the program ended without an outcome (status"),
    "mounts": (
        "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.mount(None, b'/', None, 32 | 4096, None) == 0\nopen('{outside}/{mark}', 'w')",
        OK,
    ),
}
"""Programs, and how their statuses begin; those that are ok fail the tests."""


def own_processes() -> list[str]:
    """Command lines of the processes that run programs."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if "isolated.py" in line:
            found.append(line)
    return found


@pytest.fixture(scope="module", autouse=True)
def isolation() -> None:
    assert is_isolated(), "this machine cannot run programs apart: the tests need util-linux and namespaces"


def test_hostile_programs_end_as_statuses_in_time_and_leave_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.01)
        facts = {"outside": str(tmp_path), "mark": MARK, "port": str(server.getsockname()[1])}

        def answer(name: str) -> tuple[str, float | None, float]:
            program = HOSTILE[name][0]
            for fact, value in facts.items():
                program = program.replace(f"{{{fact}}}", value)
            began = time.monotonic()
            found = run(program, TESTS)
            return found.status, found.value, time.monotonic() - began

        with ThreadPoolExecutor(len(HOSTILE)) as pool:
            found = dict(zip(HOSTILE, pool.map(answer, HOSTILE), strict=True))
        with pytest.raises(TimeoutError):
            server.accept()
    for name, (status, value, seconds) in found.items():
        assert status.startswith(HOSTILE[name][1]), (name, status)
        assert value == (0.0 if status == OK else None), name
        assert seconds < LONGEST_SECONDS, (name, seconds)
    assert own_processes() == []
    left = [*tmp_path.iterdir(), *Path("/tmp").glob(MARK), *Path("/dev/shm").glob(MARK)]
    assert left == [] and not (Path.cwd() / MARK).exists()


def test_a_program_is_gone_when_its_job_is_killed() -> None:
    sleep = "run('import time\\ntime.sleep(99)', [])"
    program = f"from models_train.checks.code_tests import run\nprint('begun', flush=True)\n{sleep}"
    job = subprocess.Popen([sys.executable, "-c", program], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert job.stdout is not None and job.stdout.readline() == b"begun\n"
    deadline = time.monotonic() + 10
    while not own_processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert own_processes()
    job.kill()
    job.wait()
    while own_processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert own_processes() == []


@pytest.mark.skipif(not os.access(SYSTEM_PYTHON, os.X_OK), reason="no Python that every user can read")
def test_a_user_without_rights_has_the_same_isolation() -> None:
    """As somebody who is not root would run it, in a namespace of users."""
    if os.geteuid() != 0:
        return  # all tests of this module run as such a user
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(REPOSITORY / "models_train" / "checks", Path(folder, "models_train", "checks"))
        shutil.copy(REPOSITORY / "models_train" / "processes.py", Path(folder, "models_train"))
        shutil.copytree(Path(psutil.__file__).parent, Path(folder, "psutil"))
        code = (
            "from models_train.checks import code_tests as c\n"
            "print(c.is_isolated(), c.run('def add(a, b): return a + b', ['assert add(1, 2) == 3']).value)\n"
            "print(c.run('import os\\nwhile True: os.fork()', []).status)"
        )
        command = ["setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups", SYSTEM_PYTHON, "-c", code]
        environment = {"PYTHONPATH": folder, "PATH": os.environ["PATH"]}
        done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True)
    bomb = "error: BlockingIOError: [Errno 11] Resource temporarily unavailable"
    assert done.stdout.splitlines() == ["True 1.0", bomb], done.stderr


@pytest.mark.parametrize(
    ("program", "value", "detail"),
    [
        ("def add(a, b):\n    return a + b", 1.0, None),
        ("Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nIt adds.", 1.0, None),
        ("```\ndef add(a, b):\n    return a + b", 1.0, None),
        ("import math, json, random, decimal\ndef add(a, b):\n    return math.fsum([a, b])", 1.0, None),
        ("def add(a, b):\n    return 3", 0.5, "1 of 2 tests fail: AssertionError"),
        ("def add(a, b)\n    return 3", 0.0, "2 of 2 tests fail: SyntaxError: expected ':' (<response>, line 1)"),
        ("I cannot do that.", 0.0, "2 of 2 tests fail: SyntaxError: invalid syntax (<response>, line 1)"),
        (
            "def add(a, b):\n    return add(a, b)",
            0.0,
            "2 of 2 tests fail: RecursionError: maximum recursion depth exceeded",
        ),
        ("import numpy", 0.0, "2 of 2 tests fail: ModuleNotFoundError: No module named 'numpy'"),
        ("raise SystemExit(0)", 0.0, "2 of 2 tests fail: SystemExit: 0"),
        ("x = '\0'", 0.0, "2 of 2 tests fail: SyntaxError: source code string cannot contain null bytes"),
        ("\ud800", 0.0, None),
        ("class E(Exception):\n    def __str__(self): raise self\nraise E", 0.0, "2 of 2 tests fail: E"),
    ],
)
def test_the_value_is_the_share_of_tests_that_pass(program: str, value: float, detail: str | None) -> None:
    found = check(program, json.dumps(TESTS))
    assert (found.status, found.value) == (OK, value)
    assert detail is None or found.detail == detail
    assert 0 < found.seconds < LONGEST_SECONDS


@pytest.mark.parametrize(
    ("gold", "tests"),
    [
        ('"assert f() == 1"', ["assert f() == 1"]),
        ('["a", "b"]', ["a", "b"]),
        ('{"tests": ["a"]}', ["a"]),
        ('{"test": ["a"]}', None),
        ("[]", None),
        ('["a", 1]', None),
        ('[" "]', None),
        ("7", None),
        ("not JSON", None),
        (None, None),
    ],
)
def test_the_tests_of_a_prompt(gold: str | None, tests: list[str] | None) -> None:
    assert texts_of_tests(gold) == tests
    if tests is None:
        assert check("x = 1", gold).status == NOT_APPLICABLE


def test_nothing_runs_where_nothing_is_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_tests, "_command", lambda: None)
    is_isolated.cache_clear()
    try:
        assert check("x = 1", '["assert x == 1"]').status == run("", []).status == REFUSED
    finally:
        is_isolated.cache_clear()


def test_blocks_of_other_languages_are_no_program() -> None:
    assert program_of("```bash\nrm -rf /\n```\n```py\nx = 1\n```\n```python3\ny = 2\n```") == "x = 1\n\ny = 2\n"

"""The end of a process at a stop signal: by itself where Python gets to it, in time where it does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import psutil
import pytest

STOPPED = """
import subprocess, sys, time
from models_train import processes
from models_train.processes import stopped_by_signals
processes.STOP_SECONDS, processes.LAST_SECONDS = 1.0, 0.5
try:
    with stopped_by_signals():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
        {work}
except KeyboardInterrupt:
    print("stopped")
    sys.exit(3)
"""
IN_PYTHON = "time.sleep(60)"
IN_A_LIBRARY = "__import__('hashlib').pbkdf2_hmac('sha256', b'password', b'salt', 10**9)"
"""Minutes in a library that sees no signals, as in a backward pass."""
STOPS_NOTHING = """
import os, signal, time
from models_train import processes
from models_train.processes import stopped_by_signals
processes.STOP_SECONDS = processes.LAST_SECONDS = 0.1
before = [signal.getsignal(one) for one in processes.STOP_SIGNALS]
for _ in range(2):
    with stopped_by_signals():
        pass
assert before == [signal.getsignal(one) for one in processes.STOP_SIGNALS]
signal.signal(signal.SIGTERM, lambda *_: None)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(1)
"""


def begun(work: str) -> tuple[subprocess.Popen[str], int]:
    """A process that is at some work with SIGINT ignored at its start, and the id of the process that it started."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED.format(work=work)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_is_an_interrupt(number: signal.Signals) -> None:
    process, child = begun(IN_PYTHON)
    try:
        process.send_signal(number)
        said, _ = process.communicate(timeout=5)
        assert (process.returncode, said) == (3, "stopped\n")
    finally:
        psutil.Process(child).kill()


def test_work_that_sees_no_signal_is_ended_with_what_it_started() -> None:
    process, child = begun(IN_A_LIBRARY)
    time.sleep(0.2)
    process.terminate()
    assert process.wait(10) == 130
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_nothing_is_left_of_it_after_the_work() -> None:
    subprocess.run([sys.executable, "-c", STOPS_NOTHING], check=True, timeout=20)

"""Work in a child that is forked from a process which has only imported it, and killed with SIGKILL after a while.

So each start takes milliseconds, and the moment of the kill is one of the work itself, not of its imports.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Self

LAUNCHER = """
import importlib, json, os, signal, sys, time
sys.path[:0] = json.loads(sys.argv[3])
work = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])

for line in sys.stdin:
    order = json.loads(line)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            work(order["arguments"])
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = None
    while status is None:
        ended, code = os.waitpid(child, os.WNOHANG)
        if ended:
            status = code
        elif order["seconds"] is not None and time.monotonic() - began > order["seconds"]:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        else:
            time.sleep(0.002)
    print(json.dumps({"status": status, "seconds": time.monotonic() - began}), flush=True)
"""


class Launcher:
    """Calls `module.function(arguments)` in forked children, one at a time. paths: put before sys.path there."""

    def __init__(self, module: str, function: str = "main", paths: Sequence[str] = ()) -> None:
        # -W: a killed child leaves semaphores behind, and Python's tracker of them says so each time.
        self._command = [sys.executable, "-W", "ignore", "-c", LAUNCHER, module, function, json.dumps(list(paths))]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def call(self, arguments: Sequence[str], seconds: float | None = None) -> dict[str, float]:
        """Call, and kill after `seconds`. status: as `os.wait` gives it. seconds: that it took."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"arguments": list(arguments), "seconds": seconds}) + "\n")
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        assert answer["status"] in (0, signal.SIGKILL), "ended well, or killed"
        return answer

"""The training job killed with SIGKILL at random moments, again and again until it ends.

The job runs in a child that is forked from a process which has only imported it, so that each start takes no seconds.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from reward_studies import arguments, results

LAUNCHER = """
import contextlib, io, json, os, signal, sys, time
from models_train.jobs.train_reward_model import main

for line in sys.stdin:
    order = json.loads(line)
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        with contextlib.redirect_stdout(io.StringIO()):
            main(order["arguments"])
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


@dataclass(frozen=True)
class Killed:
    """What an undisturbed search leaves, and what searches leave that were killed `n_kills` times in all."""

    undisturbed: dict[str, Any]
    disturbed: list[dict[str, Any]]
    n_kills: int


class Launcher:
    """Starts the job in forked children, one at a time."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", LAUNCHER]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def run(self, study: Path, home: Path, objective: str, seconds: float | None) -> dict[str, float]:
        """Run the job, and kill it after a time. status: as `os.wait` gives it. seconds: that it took."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(
            json.dumps({"arguments": arguments(study, home, objective), "seconds": seconds}) + "\n"
        )
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        assert answer["status"] in (0, signal.SIGKILL), "ended well, or killed"
        return answer

    def run_with_kills(
        self, study: Path, folder: Path, objective: str, n_kills: int, random_source: random.Random
    ) -> Killed:
        """Search undisturbed, then anew with kills, in as many homes as it takes; each search is brought to its end."""
        whole = self.run(study, folder / "undisturbed", objective, None)["seconds"]
        disturbed: list[dict[str, Any]] = []
        done = 0
        while done < n_kills:
            home = folder / f"home-{len(disturbed)}"
            while self._is_killed(study, home, objective, random_source.uniform(0, whole) if done < n_kills else None):
                done += 1
            disturbed.append(results(home))
        return Killed(results(folder / "undisturbed"), disturbed, done)

    def _is_killed(self, study: Path, home: Path, objective: str, seconds: float | None) -> bool:
        return self.run(study, home, objective, seconds)["status"] == signal.SIGKILL

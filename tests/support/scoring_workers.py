"""Two processes at a time that score documents, of which one is killed with SIGKILL at random moments, and replaced.

`python scoring_workers.py` reads orders, a line of JSON each, and answers each. The workers are forked from this
process, which has imported the job and done nothing else, so that a start takes no seconds.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from models_train.jobs.score_documents import main

WORKERS = 2


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Workers until all documents are scored. kills: at most so many. seconds: longest time between two."""
    source = random.Random(order["seed"])
    workers = {start(order["arguments"]) for _ in range(WORKERS)}
    parts: dict[str, int] = {}
    redone: list[str] = []
    kills = 0
    next_kill = time.monotonic() + source.uniform(0, order["seconds"])
    while workers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            workers.discard(pid)
            if status == signal.SIGKILL:
                workers.add(start(order["arguments"]))
            elif status:
                return {"failure": status}
        elif kills < order["kills"] and time.monotonic() > next_kill:
            os.kill(source.choice(sorted(workers)), signal.SIGKILL)
            kills += 1
            next_kill = time.monotonic() + source.uniform(0, order["seconds"])
        redone += look(Path(order["parts"]), parts)
        time.sleep(0.001)
    return {"kills": kills, "redone": redone}


def start(arguments: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main(arguments)
        code = 0
    finally:
        os._exit(code)


def look(folder: Path, known: dict[str, int]) -> list[str]:
    """Parts that are not the files that they were."""
    there = {path.name: path.stat().st_ino for path in folder.glob("*.parquet")}
    changed = [name for name, file in known.items() if there.get(name) != file]
    known.update(there)
    return changed


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)

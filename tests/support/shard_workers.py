"""Shards without a model, for the cluster's own behaviour: each sleeps, and some end their worker.

`python -m tests.support.shard_workers <folder> <shards> <seconds> <deed>...` works on them on the cluster and prints
the facts of each. Deeds: `killer:<shard>` always kills the worker, `broken:<shard>` breaks its engine once,
`refused:<shard>` and `defect:<shard>` raise; `unable:<shard>`, of any shard, kills every worker while it begins.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models_train.errors import UserError
from models_train.files import create
from models_train.jobs.cluster import Facts, run_shards


class EngineDeadError(Exception):
    """An engine whose own process is gone, as vLLM reports it."""


@dataclass(frozen=True)
class Sleeps:
    """Work and worker in one. deeds: what happens at a shard."""

    folder: Path
    seconds: float
    deeds: dict[int, str]

    def begin(self, agree: Callable[[str, str], str], say: Callable[[str], None]) -> Sleeps:
        """Sleep needs no preparation."""
        if "unable" in self.deeds.values():
            os.kill(os.getpid(), signal.SIGKILL)
        say(f"agreed on {agree('choice', str(os.getpid()))}")
        return self

    def do(self, shard: int) -> Facts:
        """Sleep, or do the deed of the shard."""
        with (self.folder / "begun").open("a") as log:
            log.write(f"{shard} {os.getpid()}\n")
        deed = self.deeds.get(shard)
        if deed == "killer":
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "broken" and create(self.folder / "broken", lambda path: path.touch()):
            raise RuntimeError("the engine does not answer") from EngineDeadError()
        if deed == "refused":
            raise UserError(f"shard {shard} is wrong; correct it")
        if deed == "defect":
            raise KeyError("a defect")
        time.sleep(self.seconds)
        return self._made(shard, "done")

    def give_up(self, shard: int, reason: str) -> Facts:
        """Write that it was given up."""
        return self._made(shard, reason)

    def _made(self, shard: int, text: str) -> Facts:
        is_first = create(self.folder / f"{shard}.part", lambda path: path.write_text(text))
        return {"shard": shard, "status": text, "is_first": is_first}


if __name__ == "__main__":
    place, n, pause, *more = sys.argv[1:]
    given = {int(shard): deed for deed, shard in (one.split(":") for one in more)}
    began = time.monotonic()
    try:
        for found in run_shards(range(int(n)), Sleeps(Path(place), float(pause), given)):
            print(json.dumps(found | {"after": time.monotonic() - began}), flush=True)
    except UserError as error:
        sys.exit(str(error))

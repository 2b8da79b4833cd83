"""Readers of the published snapshot, each in its own process, which opens the pointer again and again and checks that
all tables that it reads are of one snapshot.

Two ways of opening, in turn: DuckDB's own connect by the pointer's name, as an analyst has it, and the project's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from warehouse.connection import read
from warehouse.paths import Home

REPOSITORY = Path(__file__).resolve().parents[2]
TABLES = ("dim_studies", "fct_results", "snapshot")


@dataclass
class Reading:
    """What a reader saw. n: snapshots opened. mixed: such whose tables bore different stamps or did not belong
    together. waited: longest time between two opened snapshots, in seconds."""

    n: int = 0
    waited: float = 0.0
    snapshots: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def look(connection: duckdb.DuckDBPyConnection, pause: float, seen: Reading) -> None:
    """Read every table through its view; the publisher writes one number into all rows of both marts."""
    stamps, numbers = set(), set()
    for table in TABLES:
        stamps |= {stamp for (stamp,) in connection.execute(f"select distinct snapshot_id from {table}").fetchall()}
        if table != "snapshot":
            numbers |= {number for (number,) in connection.execute(f"select distinct n from {table}").fetchall()}
        time.sleep(pause)
    seen.n += 1
    if len(stamps) != 1 or len(numbers) != 1:
        seen.mixed.append(f"{sorted(stamps)} {sorted(numbers)}")
    if not seen.snapshots or seen.snapshots[-1] not in stamps:
        seen.snapshots += sorted(stamps)


def read_until(home: Home, stop: Path, pause: float) -> Reading:
    """Open the pointer again and again; pause: seconds between two tables of one snapshot."""
    seen, last = Reading(), time.monotonic()
    while not stop.exists():
        try:
            if seen.n % 2:
                with read(home.current) as connection:
                    look(connection, pause, seen)
            else:
                with duckdb.connect(str(home.current), read_only=True) as connection:
                    look(connection, pause, seen)
        except Exception as error:
            seen.errors.append(f"{type(error).__name__}: {error}")
        seen.waited, last = max(seen.waited, time.monotonic() - last), time.monotonic()
    return seen


@contextmanager
def at_work(
    commands: Sequence[Sequence[str | Path]],
    stop: Path,
    environment: Mapping[str, str] | None = None,
    seconds: float = 60,
) -> Iterator[list[str]]:
    """Programs at work during the block, from when each has said `reading`; the list is filled at its end with what
    they print when the file `stop` is there. seconds: within which they end then."""
    processes = [subprocess.Popen(one, env=environment, stdout=subprocess.PIPE, text=True) for one in commands]
    answers: list[str] = []
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "reading\n"
        yield answers
    finally:
        stop.touch()
        answers += [process.communicate(timeout=seconds)[0] for process in processes]
        stop.unlink()


@contextmanager
def readers(home: Home, pauses: list[float]) -> Iterator[list[Reading]]:
    """Readers at work during the block, one per pause; the list is filled at its end."""
    stop = home.root / "stop-reading"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    commands = [[sys.executable, __file__, str(home.root), str(stop), str(pause)] for pause in pauses]
    found: list[Reading] = []
    with at_work(commands, stop, environment) as answers:
        yield found
    found += [Reading(**json.loads(answer)) for answer in answers]


def summary(found: list[Reading]) -> dict[str, Any]:
    """Figures of several readers together."""
    return {
        "snapshots opened": sum(one.n for one in found),
        "different ones seen": len(Counter(stamp for one in found for stamp in one.snapshots)),
        "errors": sum(len(one.errors) for one in found),
        "mixed snapshots": sum(len(one.mixed) for one in found),
        "longest wait, s": round(max(one.waited for one in found), 2),
    }


if __name__ == "__main__":
    print("reading", flush=True)
    print(json.dumps(vars(read_until(Home(Path(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3])))), flush=True)


HOLD = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@contextmanager
def held_by_another(path: Path, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process that has a database open for writing, for some seconds or until the block ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

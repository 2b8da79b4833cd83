"""Steps killed with SIGKILL at random moments, and what they leave: at once, and after one refresh."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from tests.support.forked import Launcher
from tests.support.kill_targets import ACKNOWLEDGED, FIRST_STEPS, STEPS
from warehouse.connection import identifier, read
from warehouse.content_id import table_ids
from warehouse.contracts import TABLES
from warehouse.part_files import read_part
from warehouse.paths import REPOSITORY, Home

SCHEMAS = ("raw", "seeds", "staging", "intermediate", "marts")


@dataclass
class Outcome:
    """Kills of one step, and what was wrong after them."""

    step: str
    n_kills: int = 0
    problems: list[str] = field(default_factory=list)


class Kills:
    """Kills of steps, each on a fresh copy of the home as it is before that step."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.kept = folder / "kept"
        self.kept.mkdir(parents=True)
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Kills:
        self.launcher = Launcher("tests.support.kill_targets", paths=[str(REPOSITORY)]).__enter__()
        for step in FIRST_STEPS:
            self._call(step)
        for step in STEPS:
            shutil.copytree(self.home.root, self.kept / step, symlinks=True)
            self.seconds[step] = self._call(step)["seconds"]
        self.wanted = contents(self.home)
        return self

    def __exit__(self, *arguments: object) -> None:
        self.launcher.__exit__(*arguments)

    def of(self, step: str, n_kills: int, source: random.Random) -> Outcome:
        """Kill a step n times, each time followed by a refresh; a step that ended before its kill is not counted."""
        outcome = Outcome(step)
        while outcome.n_kills < n_kills:
            self._put_back(step)
            if self._kill(step, source, outcome):
                self._compare(outcome, STEPS)
        return outcome

    def in_one_refresh(self, n_kills: int, source: random.Random) -> list[Outcome]:
        """A refresh whose steps are each killed n times before they may end; the outcome of each step."""
        self._put_back(next(iter(STEPS)))
        outcomes = [Outcome(step) for step in STEPS]
        for outcome in outcomes:
            while outcome.n_kills < n_kills:
                self._kill(outcome.step, source, outcome)
            self._call(outcome.step)
        self._compare(outcomes[-1], ())
        return outcomes

    def _put_back(self, step: str) -> None:
        """The home as it was before the step. Always the same path: dbt parses the project again where it has moved."""
        shutil.rmtree(self.home.root)
        shutil.copytree(self.kept / step, self.home.root, symlinks=True)
        self.before = snapshot_id(self.home)

    def _kill(self, step: str, source: random.Random, outcome: Outcome) -> bool:
        """Start the step, kill it, check what it left; returns whether the kill came in time."""
        seconds = source.uniform(0, self.seconds[step])
        if self._call(step, seconds)["status"] != signal.SIGKILL:
            return False
        outcome.n_kills += 1
        found = left_as_it_lies(self.home, self.before, self.wanted["snapshot"])
        outcome.problems += [f"killed after {seconds:.3f} s: {problem}" for problem in found]
        return True

    def _compare(self, outcome: Outcome, steps: Iterable[str]) -> None:
        """Refresh, and compare with the undisturbed home."""
        acknowledged = acknowledged_parts(self.home)
        for step in steps:
            self._call(step)
        found = contents(self.home)
        outcome.problems += [
            f"kill {outcome.n_kills}: {name} differs after the refresh"
            for name in {*self.wanted, *found}
            if found.get(name) != self.wanted.get(name)
        ]
        outcome.problems += lost(self.home, acknowledged) + doubled(self.home)

    def _call(self, step: str, seconds: float | None = None) -> dict[str, float]:
        return self.launcher.call([str(self.home.root), step], seconds)


def contents(home: Home) -> dict[str, str]:
    """A hash of every table of the warehouse and of the published snapshot, and the snapshot's id."""
    with read(home.warehouse) as connection:
        found = table_ids(connection, SCHEMAS)
    with read(home.current) as connection:
        found |= {f"published {name}": value for name, value in table_ids(connection, ["marts"]).items()}
    return found | {"snapshot": snapshot_id(home)}


def snapshot_id(home: Home) -> str:
    with duckdb.connect(str(home.current), read_only=True) as connection:
        ((found,),) = connection.execute("select snapshot_id from snapshot").fetchall()
    return str(found)


def left_as_it_lies(home: Home, before: str, after: str) -> list[str]:
    """The pointer opens on one whole snapshot, the one before or the new one, and every acknowledged part is whole."""
    problems = []
    with duckdb.connect(str(home.current), read_only=True) as connection:
        names = [name for (name,) in connection.execute("show tables").fetchall()]
        stamps = {
            stamp
            for name in names
            for (stamp,) in connection.execute(f"select distinct snapshot_id from {identifier(name)}").fetchall()
        }
    if len(stamps) != 1 or stamps - {before, after}:
        problems.append(f"the pointer shows {stamps}, not {before} or {after}")
    for path in acknowledged_parts(home):
        try:
            read_part(home.parts / path)
        except Exception as error:
            problems.append(f"acknowledged part {path}: {error}")
    return problems


def acknowledged_parts(home: Home) -> list[str]:
    return sorted(set((home.root / ACKNOWLEDGED).read_text().splitlines()))


def lost(home: Home, acknowledged: list[str]) -> list[str]:
    """Acknowledged parts that are neither landed nor followed by a landed one of their partition."""
    with read(home.warehouse) as connection:
        landed = {file for (file,) in connection.execute("select file from audit.landed_parts").fetchall()}
    return [
        f"acknowledged part {path} is lost"
        for path in acknowledged
        if not {path, path.replace("/old-", "/new-")} & landed
    ]


def doubled(home: Home) -> list[str]:
    """Raw tables in which a key occurs twice."""
    problems = []
    with read(home.warehouse) as connection:
        for name, table in TABLES.items():
            key = ", ".join(identifier(column) for column in table.key)
            twice = connection.execute(
                f"select count(*) from (select 1 from raw.{identifier(name)} group by {key} having count(*) > 1)"
            ).fetchone()
            if twice != (0,):
                problems.append(f"raw.{name} has doubled keys: {twice}")
    return problems

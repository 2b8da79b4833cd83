"""Dagster's databases: sound, and not locked by another program, before any work begins.

They are SQLite files of the home, or one Postgres database (`postgres.py`), which has no files here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from dagster_project.environment import settings
from dagster_project.lib import postgres
from models_train.errors import UserError, first_line
from warehouse.paths import Home

DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""Databases of Dagster's folder that every run opens; each run's own events are in another file."""
WAIT_SECONDS = 10.0
"""Longest wait for a lock, in seconds."""
_IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def check_storage(home: Home, wait_seconds: float = WAIT_SECONDS) -> list[str]:
    """Set damaged databases aside, so that Dagster begins new ones; returns a sentence for each.

    Dagster's records say what was materialized when: without them assets are made again, and parts stay. Raises
    UserError where another program keeps a database locked, or where Postgres cannot be used. Call it only where
    nothing else writes to the home.
    """
    if settings().postgres:
        postgres.check(settings().postgres)
        return []
    return [_set_aside(path) for name in DATABASES if _is_damaged(path := home.dagster_home / name, wait_seconds)]


def databases(home: Home) -> dict[Path, int]:
    """Dagster's databases that are there, each with the number of its file (inode); none with Postgres."""
    if settings().postgres:
        return {}
    paths = (home.dagster_home / name for name in DATABASES)
    return {path: path.stat().st_ino for path in paths if path.exists()}


def lost_database(home: Home, before: Mapping[Path, int]) -> str | None:
    """A sentence on a database that was removed or replaced since; None where there is none. before: of `databases`.

    A program that has it open would go on with an empty file in its place, without tables.
    """
    now = databases(home)
    lost = next((path for path, number in before.items() if now.get(path) != number), None)
    if lost is None:
        return None
    return f"{lost} (Dagster's records) was removed or replaced; parts and snapshot stay, and assets are made again."


def _is_damaged(path: Path, wait_seconds: float) -> bool:
    if not path.exists():
        return False
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=wait_seconds)
    try:
        connection.execute("begin immediate")
        connection.execute("rollback")
        return connection.execute("pragma quick_check(1)").fetchone() != ("ok",)
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without its extension
        if code in _IN_USE:
            raise UserError(
                f"{path} (Dagster's records) has been locked by another program for {wait_seconds:g} s; close that "
                "program, such as an SQLite client, and run again"
            ) from None
        if code in _DAMAGED:
            return True
        raise UserError(f"{path} (Dagster's records) cannot be opened: {first_line(error)}") from error
    finally:
        connection.close()


def _set_aside(path: Path) -> str:
    aside = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%dT%H%M%S')}")
    path.rename(aside)
    for ending in ("-wal", "-shm", "-journal"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
    return f"Dagster's records in {path} were damaged; they were set aside as {aside.name}, and new ones begin."

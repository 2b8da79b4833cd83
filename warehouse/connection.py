"""Short-lived connections to DuckDB files: waiting for the lock, read-only reading, clear errors.

A DuckDB file has one writing process or many readers, never both. So a connection is opened late, closed
early, and an open that meets another process's lock waits for it instead of failing at once.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import duckdb

from models_train.errors import UserError, first_line

Connection = duckdb.DuckDBPyConnection
Result = TypeVar("Result")

WAIT_SECONDS = 60.0
"""Longest wait for another process to release the file, in seconds."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_PID = re.compile(r"\(PID (\d+)\)")
_DAMAGED = "Corrupt database file"
"""DuckDB's words for a block that does not have its checksum."""
_BUSY = ("Could not set lock", "different configuration", "Unique file handle conflict")


class WarehouseError(UserError):
    """A DuckDB file that cannot be opened."""


class WarehouseMissing(WarehouseError):
    """The file does not exist."""


class WarehouseBusy(WarehouseError):
    """Another process holds the file and did not release it in time."""


class WarehouseDamaged(WarehouseError):
    """The file was opened, and a block of it is not what was written."""


@contextmanager
def read(path: Path | str, wait_seconds: float = WAIT_SECONDS) -> Iterator[Connection]:
    """Read-only connection to a DuckDB file, closed at the end.

    A symbolic link is followed at once, so that a reader of `current.duckdb` stays on one snapshot, and the
    next one gets the newer. Raises WarehouseMissing, WarehouseBusy, WarehouseDamaged, or WarehouseError for a file
    that is no DuckDB database.
    """
    connection = _wait_for(
        lambda: _existing(path), lambda file: duckdb.connect(str(file), read_only=True), wait_seconds
    )
    try:
        with damage_named(path):
            yield _quiet(connection)
    finally:
        connection.close()


@contextmanager
def write(path: Path | str, wait_seconds: float = WAIT_SECONDS) -> Iterator[Connection]:
    """Writing connection to a DuckDB file, made if missing, closed at the end. Raises like `read`."""
    target = Path(path).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    connection = _wait_for(lambda: target, lambda file: duckdb.connect(str(file)), wait_seconds)
    try:
        with damage_named(path):
            yield _quiet(connection)
    finally:
        connection.close()


@contextmanager
def damage_named(path: Path | str) -> Iterator[None]:
    """Raise WarehouseDamaged where DuckDB finds that a block does not have its checksum."""
    try:
        yield
    except duckdb.Error as error:
        if _DAMAGED not in str(error):
            raise
        raise WarehouseDamaged(_damaged(path)) from error


def attach_read_only(connection: Connection, path: Path | str, alias: str, wait_seconds: float = WAIT_SECONDS) -> None:
    """Attach a DuckDB file read-only under a name to an open connection. Raises like `read`."""

    def attach(file: Path) -> Connection:
        return connection.execute(f"attach {literal(str(file))} as {identifier(alias)} (read_only)")

    _wait_for(lambda: _existing(path), attach, wait_seconds)


def memory() -> Connection:
    """A connection to an empty database in memory, for attaching files to; the caller closes it."""
    return _quiet(duckdb.connect(":memory:"))


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All of the block's statements or none of them: committed at its end, rolled back when it raises."""
    connection.execute("begin")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


@contextmanager
def registered(connection: Connection, name: str, rows: object) -> Iterator[None]:
    """Rows of Arrow under a name that the block's statements can read from."""
    connection.register(name, rows)
    try:
        yield
    finally:
        connection.unregister(name)


def read_every_block(connection: Connection) -> None:
    """Read all rows of all tables, whose blocks DuckDB then compares with their checksums. Raises duckdb.Error."""
    named = connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = current_database()"
    ).fetchall()
    for schema, table in named:
        connection.execute(
            f"select bit_xor(hash(rows)) from {identifier(schema)}.{identifier(table)} as rows"
        ).fetchall()


def has_table(connection: Connection, schema: str, name: str, database: str | None = None) -> bool:
    """Whether a database (None: the present one) holds a table."""
    found = connection.execute(
        "select count(*) from duckdb_tables() "
        "where database_name = coalesce(?, current_database()) and schema_name = ? and table_name = ?",
        [database, schema, name],
    ).fetchone()
    return bool(found and found[0])


def identifier(name: str) -> str:
    """A name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text quoted for SQL."""
    return "'" + text.replace("'", "''") + "'"


def _quiet(connection: Connection) -> Connection:
    """Forbid DuckDB to fetch or load extensions; what is needed is built in."""
    connection.execute("set autoinstall_known_extensions = false; set autoload_known_extensions = false")
    return connection


def _existing(path: Path | str) -> Path:
    file = Path(path).absolute()
    if not file.exists():
        lost = f" (a link to {os.readlink(file)}, which is gone)" if file.is_symlink() else ""
        raise WarehouseMissing(f"{file}{lost}: there is no such database yet; run `make run` to build it")
    return file.resolve()


def _wait_for(find: Callable[[], Path], attempt: Callable[[Path], Result], wait_seconds: float) -> Result:
    deadline = time.monotonic() + wait_seconds
    pause = _FIRST_PAUSE
    while True:
        file = find()
        try:
            return attempt(file)
        except duckdb.Error as error:
            message = str(error)
            if not is_held(message):
                if find() != file:
                    continue  # the link has moved on, and what it named was removed
                if _DAMAGED in message:
                    raise WarehouseDamaged(_damaged(file)) from error
                raise WarehouseError(_unusable(file, message)) from error
            left = deadline - time.monotonic()
            if left <= 0:
                raise WarehouseBusy(held(file, message, f" after {wait_seconds:g} s")) from error
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)


def is_held(message: str) -> bool:
    """True for DuckDB's message, in an error of its own or of another program, that a file is held by a process."""
    return any(sign in message for sign in _BUSY)


def held(file: Path, message: str, after: str = "") -> str:
    """Who holds a file, and what to do. message: DuckDB's. after: how long was waited for it."""
    found = _PID.search(message)
    pid = int(found.group(1)) if found else None
    if pid is None and "Could not set lock" not in message:
        pid = os.getpid()  # other messages concern connections of this process
    holder = "another process" if pid is None else f"process {pid}"
    if pid == os.getpid():
        holder = f"this process itself ({pid}), by a connection of another kind"
    return (
        f"{file} is still held by {holder}{after}; wait for it to end or close that program, then run again "
        "(who only reads opens published/current.duckdb)"
    )


def _damaged(file: Path | str) -> str:
    return f"{file} is damaged: a block of it is not what was written; run `make run`, which makes it again"


def _unusable(file: Path, message: str) -> str:
    remedy = "check path, permissions and DuckDB version; `make run` can rebuild the warehouse"
    return f"{file} cannot be opened ({first_line(message)}); {remedy}"

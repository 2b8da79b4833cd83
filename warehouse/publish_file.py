"""The file of a snapshot: every mart with its NOT NULLs, comments and the snapshot's id, and views of them."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from warehouse.connection import Connection, identifier, literal, transaction
from warehouse.content_id import SNAPSHOT_TABLE, STAMP, TableFacts, qualified, tables

SOURCE = "warehouse"
"""Name that the warehouse is attached under."""

_CANDIDATE = "candidate"
_SNAPSHOT_COLUMNS = {
    "snapshot_id": ("VARCHAR", "Id of the snapshot: a hash of all rows of its marts."),
    "created_at": ("TIMESTAMP WITH TIME ZONE", "When the snapshot was made."),
    "studies": ("VARCHAR", "Studies whose rows it holds, separated by commas."),
    "rewardbase_version": ("VARCHAR", "Version of Rewardbase that made it."),
}
_STAMP_ABOUT = "Snapshot that the row was read from: the same in every row of every table of the file."


@dataclass(frozen=True)
class Snapshot:
    """A published snapshot. `changed`: publishing made it, found something new. Counts are of the marts."""

    id: str
    path: Path
    created_at: datetime
    n_tables: int
    n_rows: int
    changed: bool


def build(connection: Connection, candidate: Path, snapshot: Snapshot) -> None:
    """Copy every mart with its NOT NULLs and comments and the snapshot's id, a view of it in `main`, and the snapshot's
    own row."""
    connection.execute(f"attach {literal(str(candidate))} as {_CANDIDATE}")
    try:
        # One transaction, or every comment would wait for the disk.
        with transaction(connection):
            connection.execute(f"create schema {_CANDIDATE}.marts")
            for table in tables(connection, database=SOURCE):
                _copy(connection, table, snapshot)
            _describe_snapshot(connection, snapshot)
        connection.execute(f"checkpoint {_CANDIDATE}")
    finally:
        connection.execute(f"detach {_CANDIDATE}")


def _copy(connection: Connection, table: TableFacts, snapshot: Snapshot) -> None:
    target = qualified(_CANDIDATE, "marts", table.name)
    columns = "".join(
        f"{identifier(column.name)} {column.type}{'' if column.is_nullable else ' not null'}, "
        for column in table.columns
    )
    # As a default, too, so that a table without rows can be told by its description.
    stamp = literal(snapshot.id)
    connection.execute(f"create table {target} ({columns}{STAMP} varchar not null default {stamp})")
    names = "".join(f"{identifier(column.name)}, " for column in table.columns)
    source = qualified(SOURCE, "marts", table.name)
    connection.execute(f"insert into {target} select {names}{stamp} from {source}")
    connection.execute(f"comment on column {target}.{STAMP} is {literal(_STAMP_ABOUT)}")
    for column in table.columns:
        if column.comment:
            name = f"{target}.{identifier(column.name)}"
            connection.execute(f"comment on column {name} is {literal(column.comment)}")
    if table.comment:
        connection.execute(f"comment on table {target} is {literal(table.comment)}")
    _add_view(connection, table.name, table.comment)


def _add_view(connection: Connection, name: str, comment: str | None) -> None:
    # The view names no database: a reader may open the file under any name.
    view = qualified(_CANDIDATE, "main", name)
    connection.execute(f"use {_CANDIDATE}.main")
    try:
        connection.execute(f"create view main.{identifier(name)} as select * from marts.{identifier(name)}")
    finally:
        connection.execute("use memory.main")
    if comment:
        connection.execute(f"comment on view {view} is {literal(comment)}")


def _describe_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    target = qualified(_CANDIDATE, "marts", SNAPSHOT_TABLE)
    columns = ", ".join(f"{name} {kind} not null" for name, (kind, _) in _SNAPSHOT_COLUMNS.items())
    connection.execute(f"create table {target} ({columns})")
    connection.execute(
        f"insert into {target} values (?, ?, ?, ?)",
        [snapshot.id, snapshot.created_at, ", ".join(_studies(connection)), _version()],
    )
    for name, (_, comment) in _SNAPSHOT_COLUMNS.items():
        connection.execute(f"comment on column {target}.{name} is {literal(comment)}")
    about = "One row: which snapshot this file is, when it was made, by which version, of which studies."
    connection.execute(f"comment on table {target} is {literal(about)}")
    _add_view(connection, SNAPSHOT_TABLE, about)


def _studies(connection: Connection) -> list[str]:
    selects = [
        f"select study_id from {qualified(SOURCE, 'marts', table.name)}"
        for table in tables(connection, database=SOURCE)
        if any(column.name == "study_id" for column in table.columns)
    ]
    if not selects:
        return []
    union = " union all ".join(selects)
    rows = connection.execute(f"select distinct study_id from ({union}) order by 1").fetchall()
    return [str(study_id) for (study_id,) in rows if study_id is not None]


def _version() -> str:
    try:
        return importlib.metadata.version("rewardbase")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"

"""Write, audit, publish: a read-only snapshot of the marts, and an atomic pointer to it.

Readers open `published/current.duckdb`, a link. A snapshot is built beside it under a temporary name, audited
as its readers will open it, and only then does the link move, in one step. Whatever fails before that leaves
the old snapshot in place.
"""

from __future__ import annotations

import importlib.metadata
import os
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from warehouse import audit
from warehouse.connection import (
    Connection,
    WarehouseError,
    attach_read_only,
    identifier,
    literal,
    memory,
    read,
    transaction,
)
from warehouse.content import SNAPSHOT_TABLE, STAMP, TableFacts, content_id, qualified, row_counts, tables
from warehouse.home import Home
from warehouse.publish_gate import MOST_NAMED, PublishError, PublishRefused, check_gate
from warehouse.retention import GRACE_SECONDS, KEPT_SNAPSHOTS, prune, remove_leftovers

__all__ = ["PublishError", "PublishRefused", "Snapshot", "content_id", "current_snapshot", "publish"]

_SOURCE, _CANDIDATE = "warehouse", "candidate"
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


def publish(
    home: Home,
    *,
    keep: int = KEPT_SNAPSHOTS,
    grace_seconds: float = GRACE_SECONDS,
    may_be_empty: Collection[str] = (),
    required: Collection[str] = (),
    expected_nodes: Collection[str] = (),
    wait_seconds: float = 60.0,
) -> Snapshot:
    """Publish the marts of the warehouse, unless they equal what is published already.

    `may_be_empty` names marts that may have no rows though they had some, or are new; `required` those that must be
    there; `expected_nodes` the dbt nodes that must have run. `keep` and `grace_seconds` say which old snapshots stay
    (`retention.prune`). Raises PublishRefused where dbt's tests, the checks of
    the results or the audit of the candidate object, PublishError where it cannot be written, and
    WarehouseMissing or WarehouseBusy where the warehouse cannot be opened; then readers see no change.
    """
    home.snapshots.mkdir(parents=True, exist_ok=True)
    remove_leftovers(home)
    connection = memory()
    try:
        attach_read_only(connection, home.warehouse, _SOURCE, wait_seconds)
        refuse_unfit(connection, _SOURCE, required, expected_nodes)
        snapshot = _next_snapshot(connection, home)
        current = current_snapshot(home)
        if current is not None and current.id == snapshot.id and _stamped(current.path) == current.n_tables:
            return current
        _make(connection, home, snapshot, current, may_be_empty)
    except (duckdb.Error, OSError) as error:
        first = str(error).splitlines()[0]
        remedy = "the old one stays; check disk space and permissions"
        raise PublishError(f"the snapshot could not be written ({first}); {remedy}") from error
    finally:
        connection.close()
    prune(home, keep, grace_seconds)
    return snapshot


def refuse_unfit(
    connection: Connection, database: str, required: Collection[str] = (), expected_nodes: Collection[str] = ()
) -> None:
    """Raise PublishRefused where the marts of `database` must not be shown to anybody: a dbt node failed, is out of
    date or never ran; a required mart is missing; a result table is not whole or a score is not a mean."""
    check_gate(connection, database, expected_nodes)
    present = {table.name for table in tables(connection, database=database)}
    problems = [f"the mart {name} is not there" for name in sorted(set(required) - present)]
    if not problems and {audit.RESULTS, audit.MODELS} <= present:
        problems += audit.incomplete_result_tables(connection, database)
        problems += audit.scores_off_the_mean(connection, database)
    if problems:
        lines = "\n".join(f"- {problem}" for problem in problems[:MOST_NAMED])
        raise PublishRefused(
            f"nothing is published, the old snapshot stays:\n{lines}\n"
            "Mend the data or the model and run `make run` again."
        )


def current_snapshot(home: Home) -> Snapshot | None:
    """The snapshot that the pointer names, or None where there is none that can be read."""
    try:
        with read(home.current) as connection:
            counts = row_counts(connection)
            found = connection.execute(
                f"select snapshot_id, epoch_us(created_at) from marts.{SNAPSHOT_TABLE}"
            ).fetchone()
    except (WarehouseError, duckdb.Error):
        return None
    if found is None:
        return None
    created_at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=found[1])
    return Snapshot(found[0], home.current.resolve(), created_at, len(counts), sum(counts.values()), False)


def _stamped(snapshot: Path) -> int:
    """Number of tables that bear the snapshot's id; those of files of earlier versions do not."""
    with read(snapshot) as connection:
        return len(_stamped_tables(connection, snapshot.stem))


def _stamped_tables(connection: Connection, database: str) -> list[str]:
    rows = connection.execute(
        "select table_name from duckdb_columns() "
        "where database_name = ? and schema_name = 'marts' and table_name <> ? and column_name = ? order by table_name",
        [database, SNAPSHOT_TABLE, STAMP],
    ).fetchall()
    return [str(name) for (name,) in rows]


def _next_snapshot(connection: Connection, home: Home) -> Snapshot:
    counts = row_counts(connection, database=_SOURCE)
    if not counts:
        raise PublishRefused("the warehouse has no marts; run `make run` to build them")
    taken = _stamped_tables(connection, _SOURCE)
    if taken:
        marts = ", ".join(taken)
        raise PublishRefused(f"the publisher adds a column {STAMP} to every mart, but {marts} has one: rename it")
    new_id = content_id(connection, database=_SOURCE)
    now = datetime.now(UTC)
    path = home.snapshots / f"{now:%Y%m%dT%H%M%S-%fZ}-{new_id}.duckdb"
    return Snapshot(new_id, path, now, len(counts), sum(counts.values()), True)


def _make(
    connection: Connection,
    home: Home,
    snapshot: Snapshot,
    current: Snapshot | None,
    may_be_empty: Collection[str],
) -> None:
    """Build, audit, name and point; on any failure what was written is removed and the pointer stays."""
    candidate = home.snapshots / f".building-{uuid.uuid4().hex}.duckdb"
    try:
        _build(connection, candidate, snapshot)
        _audit(connection, candidate, snapshot, current, may_be_empty)
        os.chmod(candidate, 0o444)
        _flush(candidate)
        os.replace(candidate, snapshot.path)
        _flush(home.snapshots)
        try:
            _point(home, snapshot.path)
        except BaseException:
            if home.current.resolve() != snapshot.path.resolve():
                snapshot.path.unlink(missing_ok=True)
            raise
    finally:
        for file in (candidate, Path(f"{candidate}.wal")):
            file.unlink(missing_ok=True)


def _build(connection: Connection, candidate: Path, snapshot: Snapshot) -> None:
    """Copy every mart with its NOT NULLs and comments and the snapshot's id, a view of it in `main`, and the snapshot's
    own row."""
    connection.execute(f"attach {literal(str(candidate))} as {_CANDIDATE}")
    try:
        # One transaction, or every comment would wait for the disk.
        with transaction(connection):
            connection.execute(f"create schema {_CANDIDATE}.marts")
            for table in tables(connection, database=_SOURCE):
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
    source = qualified(_SOURCE, "marts", table.name)
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
        f"select study_id from {qualified(_SOURCE, 'marts', table.name)}"
        for table in tables(connection, database=_SOURCE)
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


def _audit(
    connection: Connection,
    candidate: Path,
    snapshot: Snapshot,
    current: Snapshot | None,
    may_be_empty: Collection[str],
) -> None:
    """Open the candidate as a reader will; compare it with the warehouse and the present snapshot."""
    wanted = row_counts(connection, database=_SOURCE)
    before: Mapping[str, int] = {}
    if current is not None:
        with read(current.path) as reader:
            before = row_counts(reader)
    with read(candidate) as reader:
        found = row_counts(reader)
        found_id = content_id(reader)
        seen = {name: _count_view(reader, name, snapshot) for name in found}
    problems = [
        f"{name} has {found.get(name)} rows, {seen.get(name)} with the stamp in its view, but {count} in the warehouse"
        for name, count in wanted.items()
        if not found.get(name) == seen.get(name) == count
    ]
    problems += [
        f"{name} has no rows{f', {before[name]} before' if name in before else ''}"
        for name, count in wanted.items()
        if count == 0 and before.get(name) != 0 and name not in may_be_empty
    ]
    if found_id != snapshot.id:
        problems.append(f"the candidate's content id is {found_id}, the warehouse's {snapshot.id}")
    if problems:
        lines = "\n".join(f"- {problem}" for problem in problems)
        raise PublishRefused(
            f"the candidate did not pass its audit, the old snapshot stays:\n{lines}\n"
            "Look at the models of these marts and their sources, then run `make run` again."
        )


def _count_view(connection: Connection, name: str, snapshot: Snapshot) -> int:
    """Rows of the view of a table that bear the snapshot's id."""
    view = f"main.{identifier(name)}"
    found = connection.execute(f"select count(*) from {view} where {STAMP} = ?", [snapshot.id]).fetchone()
    return int(found[0]) if found else -1


def _point(home: Home, snapshot: Path) -> None:
    """Move the pointer in one step: a link under another name takes its place."""
    link = home.published / f".current-{uuid.uuid4().hex}"
    link.symlink_to(snapshot.relative_to(home.published))
    try:
        os.replace(link, home.current)
    except BaseException:
        link.unlink(missing_ok=True)
        raise
    _flush(home.published)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

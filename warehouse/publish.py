"""Write, audit, publish: a read-only snapshot of the marts, and an atomic pointer to it.

Readers open `published/current.duckdb`, a link. A snapshot is built beside it under a temporary name, audited
as its readers will open it, and only then does the link move, in one step. Whatever fails before that leaves
the old snapshot in place. Its checksum is recorded, and compared by every later run: a damaged snapshot is made again.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb

from models_train.errors import UserError, first_line, listed
from models_train.files import atomic_path, remove
from warehouse import checks, dbt_nodes
from warehouse.checksums import damage, write_checksums
from warehouse.connection import (
    Connection,
    WarehouseError,
    attach_read_only,
    damage_named,
    identifier,
    literal,
    memory,
    read,
    transaction,
)
from warehouse.content_id import SNAPSHOT_TABLE, STAMP, TableFacts, content_id, qualified, row_counts, tables
from warehouse.paths import Home

KEPT_SNAPSHOTS = 10
"""Number of snapshots kept, besides the one that the pointer names."""
GRACE_SECONDS = 600.0
"""Grace period before an old snapshot is deleted, in seconds from when its successor was published."""
LEFTOVER_SECONDS = 3600.0
"""Age from which a temporary file is taken for one of a killed publisher, in seconds."""
MOST_NAMED = 10
"""Most problems that a refusal names."""
_STAMP = "%Y%m%dT%H%M%S-%fZ"
"""Time in the name of a snapshot's file; in the order of these names the snapshots were published."""
SOURCE, _CANDIDATE = "warehouse", "candidate"
"""Names that the warehouse and the snapshot are attached under."""
_SNAPSHOT_COLUMNS = {
    "snapshot_id": ("VARCHAR", "Id of the snapshot: a hash of all rows of its marts."),
    "created_at": ("TIMESTAMP WITH TIME ZONE", "When the snapshot was made."),
    "studies": ("VARCHAR", "Studies whose rows it holds, separated by commas."),
    "rewardbase_version": ("VARCHAR", "Version of Rewardbase that made it."),
}
_SNAPSHOT_ABOUT = "One row: which snapshot this file is, when it was made, by which version, of which studies."
_STAMP_ABOUT = "Snapshot that the row was read from: the same in every row of every table of the file."


class PublishRefused(UserError):
    """The marts are not fit to be published; the old snapshot and its pointer are untouched."""


@dataclass(frozen=True)
class Snapshot:
    """A published snapshot. changed: publishing made it, because it found something new. Counts are of the marts."""

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
    """Publish the marts of the warehouse, unless they equal what is published already and that is sound.

    may_be_empty: marts that may have no rows though they had some, or are new. required: marts that must be there.
    expected_nodes: ids of the dbt nodes that must have run. keep, grace_seconds: which old snapshots stay (`prune`).
    Raises PublishRefused where dbt's tests, the checks of the results or the audit of the candidate object, UserError
    where it cannot be written, and WarehouseMissing or WarehouseBusy where the warehouse cannot be opened; then
    readers see no change.
    """
    home.snapshots.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(home)
    connection = memory()
    try:
        attach_read_only(connection, home.warehouse, SOURCE, wait_seconds)
        with damage_named(home.warehouse):
            refuse_unfit(connection, SOURCE, required, expected_nodes)
            snapshot = _next_snapshot(connection, home)
        is_sound = snapshot_problem(home) is None
        current = current_snapshot(home)
        if current and is_sound and current.id == snapshot.id and _stamped(current.path) == current.n_tables:
            return current
        _make(connection, home, snapshot, current, may_be_empty)
    except (duckdb.Error, OSError) as error:
        remedy = "the old one stays; check disk space and permissions"
        raise UserError(f"the snapshot could not be written ({first_line(error)}); {remedy}") from error
    finally:
        connection.close()
    prune(home, keep, grace_seconds)
    return snapshot


def refuse_unfit(
    connection: Connection, database: str, required: Collection[str] = (), expected_nodes: Collection[str] = ()
) -> None:
    """Raise PublishRefused where the marts of `database` are not fit for readers: a dbt node failed, is out of date or
    never ran; a required mart is missing; a result table is not whole or a score is not a mean."""
    failed = [problem.text for problem in dbt_nodes.problems(connection, database, expected_nodes)]
    if failed:
        raise _refusal(
            "nothing is published, the old snapshot stays",
            failed,
            "Correct the data or the model and run `make run` again; `make all` also rebuilds what they are made from.",
        )
    present = {table.name for table in tables(connection, database=database)}
    problems = [f"the mart {name} is missing" for name in sorted(set(required) - present)]
    if not problems and {checks.RESULTS, checks.MODELS} <= present:
        problems += checks.incomplete_result_tables(connection, database)
        problems += checks.scores_off_the_mean(connection, database)
    if problems:
        raise _refusal(
            "nothing is published, the old snapshot stays",
            problems,
            "Correct the data or the model and run `make run` again.",
        )


def _refusal(what: str, problems: list[str], remedy: str) -> PublishRefused:
    lines = "".join(f"- {problem}\n" for problem in listed(problems, most=MOST_NAMED))
    return PublishRefused(f"{what}:\n{lines}{remedy}")


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


def snapshot_problem(home: Home) -> str | None:
    """Reason to publish again whatever the marts hold: no snapshot, or one that is not as it was written; or None."""
    if not home.current.exists():
        return "there is no published snapshot"
    found = damage(home.published, home.published / os.readlink(home.current))
    return f"the published snapshot {found}" if found else None


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
    counts = row_counts(connection, database=SOURCE)
    if not counts:
        raise PublishRefused("the warehouse has no marts; run `make run` to build them")
    taken = _stamped_tables(connection, SOURCE)
    if taken:
        marts = ", ".join(taken)
        raise PublishRefused(f"the publisher adds a column {STAMP} to every mart, but {marts} has one: rename it")
    new_id = content_id(connection, database=SOURCE)
    now = datetime.now(UTC)
    path = home.snapshots / f"{_after_all(home, now):{_STAMP}}-{new_id}.duckdb"
    return Snapshot(new_id, path, now, len(counts), sum(counts.values()), True)


def _after_all(home: Home, now: datetime) -> datetime:
    """The present, or a microsecond after the time in the last snapshot's name, where a clock was ahead."""
    times = [now]
    for path in home.snapshots.glob("[!.]*.duckdb"):
        with contextlib.suppress(ValueError):
            stamp = path.name.partition("Z-")[0] + "Z"
            times.append(datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC) + timedelta(microseconds=1))
    return max(times)


def _make(
    connection: Connection,
    home: Home,
    snapshot: Snapshot,
    current: Snapshot | None,
    may_be_empty: Collection[str],
) -> None:
    """Build, audit, name and point; on any failure what was written is removed and the pointer stays."""
    with atomic_path(snapshot.path) as candidate:
        try:
            _build(connection, candidate, snapshot)
        finally:
            remove(Path(f"{candidate}.wal"))
        _audit(connection, candidate, snapshot, current, may_be_empty)
        os.chmod(candidate, 0o444)
    try:
        with atomic_path(home.current) as link:
            link.symlink_to(snapshot.path.relative_to(home.published))
    except BaseException:
        if home.current.resolve() != snapshot.path.resolve():
            remove(snapshot.path)
        raise
    write_checksums(home.published, [snapshot.path])


def _build(connection: Connection, candidate: Path, snapshot: Snapshot) -> None:
    """Write the file of a snapshot: every mart with its NOT NULLs, comments and the snapshot's id, a view of it in
    `main`, and the snapshot's own row."""
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
    target, stamp = qualified(_CANDIDATE, "marts", table.name), literal(snapshot.id)
    columns = "".join(
        f"{identifier(column.name)} {column.type}{'' if column.is_nullable else ' not null'}, "
        for column in table.columns
    )
    # As a default, too, so that a table without rows names its snapshot in its description.
    connection.execute(f"create table {target} ({columns}{STAMP} varchar not null default {stamp})")
    names = "".join(f"{identifier(column.name)}, " for column in table.columns)
    source = qualified(SOURCE, "marts", table.name)
    connection.execute(f"insert into {target} select {names}{stamp} from {source}")
    comments = {column.name: column.comment for column in table.columns} | {STAMP: _STAMP_ABOUT}
    _comment(connection, table.name, table.comment, comments)


def _describe_snapshot(connection: Connection, snapshot: Snapshot) -> None:
    target = qualified(_CANDIDATE, "marts", SNAPSHOT_TABLE)
    columns = ", ".join(f"{name} {kind} not null" for name, (kind, _) in _SNAPSHOT_COLUMNS.items())
    connection.execute(f"create table {target} ({columns})")
    connection.execute(
        f"insert into {target} values (?, ?, ?, ?)",
        [snapshot.id, snapshot.created_at, ", ".join(_studies(connection)), _version()],
    )
    comments = {name: comment for name, (_, comment) in _SNAPSHOT_COLUMNS.items()}
    _comment(connection, SNAPSHOT_TABLE, _SNAPSHOT_ABOUT, comments)


def _comment(connection: Connection, name: str, about: str | None, columns: Mapping[str, str | None]) -> None:
    """Comments of a table of the candidate and of its columns, and a view of the table in `main`."""
    target = qualified(_CANDIDATE, "marts", name)
    for column, comment in columns.items():
        if comment:
            connection.execute(f"comment on column {target}.{identifier(column)} is {literal(comment)}")
    # The view names no database: a reader may open the file under any name.
    connection.execute(f"use {_CANDIDATE}.main")
    try:
        connection.execute(f"create view main.{identifier(name)} as select * from marts.{identifier(name)}")
    finally:
        connection.execute("use memory.main")
    if about:
        connection.execute(f"comment on table {target} is {literal(about)}")
        connection.execute(f"comment on view {qualified(_CANDIDATE, 'main', name)} is {literal(about)}")


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


def _audit(
    connection: Connection,
    candidate: Path,
    snapshot: Snapshot,
    current: Snapshot | None,
    may_be_empty: Collection[str],
) -> None:
    """Open the candidate as a reader will; compare it with the warehouse and the present snapshot."""
    wanted = row_counts(connection, database=SOURCE)
    before: dict[str, int] = {}
    if current is not None:
        with contextlib.suppress(WarehouseError), read(current.path) as reader:
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
        raise _refusal(
            "the candidate did not pass its audit, the old snapshot stays",
            problems,
            "Check the models of these marts and their sources, then run `make run` again.",
        )


def _count_view(connection: Connection, name: str, snapshot: Snapshot) -> int:
    """Rows of the view of a table that bear the snapshot's id."""
    view = f"main.{identifier(name)}"
    found = connection.execute(f"select count(*) from {view} where {STAMP} = ?", [snapshot.id]).fetchone()
    return int(found[0]) if found else -1


def prune(home: Home, keep: int = KEPT_SNAPSHOTS, grace_seconds: float = GRACE_SECONDS) -> list[Path]:
    """Remove old snapshots; returns those removed.

    A snapshot stays if the pointer names it, if it is among the newest `keep`, or if its successor is younger than
    `grace_seconds`: a reader of the pointer looks up the snapshot's name first and opens the file a moment later. Who
    has it open reads on, since a file lives until it is closed. One that cannot be removed stays, too: the new one is
    published, and that is what counts.
    """
    pointed = home.current.resolve()
    oldest_first = sorted(home.snapshots.glob("[!.]*.duckdb"))
    removed = []
    # Oldest first, so that the successor's file, which dates the replacement, is still there.
    for old, successor in list(pairwise(oldest_first))[: max(0, len(oldest_first) - keep)]:
        with contextlib.suppress(OSError):
            if old.resolve() != pointed and abs(time.time() - successor.stat().st_ctime) >= grace_seconds:
                old.unlink()
                removed.append(old)
    return removed


def _remove_leftovers(home: Home) -> None:
    """Remove the temporary files of killed publishers; young ones may belong to one that is at work."""
    for leftover in (*home.snapshots.glob(".*.tmp*"), *home.published.glob(".*.tmp")):
        with contextlib.suppress(OSError):
            if abs(time.time() - leftover.lstat().st_mtime) > LEFTOVER_SECONDS:
                remove(leftover)

"""Write, audit, publish: a read-only snapshot of the marts, and an atomic pointer to it.

Readers open `published/current.duckdb`, a link. A snapshot is built beside it under a temporary name, audited
as its readers will open it, and only then does the link move, in one step. Whatever fails before that leaves
the old snapshot in place.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from warehouse import checks
from warehouse.connection import (
    Connection,
    WarehouseError,
    attach_read_only,
    identifier,
    memory,
    read,
)
from warehouse.content_id import SNAPSHOT_TABLE, STAMP, content_id, row_counts, tables
from warehouse.paths import Home
from warehouse.publish_file import SOURCE, Snapshot, build
from warehouse.publish_gate import MOST_NAMED, PublishError, PublishRefused, check_gate
from warehouse.retention import GRACE_SECONDS, KEPT_SNAPSHOTS, prune, remove_leftovers

__all__ = ["PublishError", "PublishRefused", "Snapshot", "content_id", "current_snapshot", "publish"]


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
        attach_read_only(connection, home.warehouse, SOURCE, wait_seconds)
        refuse_unfit(connection, SOURCE, required, expected_nodes)
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
    if not problems and {checks.RESULTS, checks.MODELS} <= present:
        problems += checks.incomplete_result_tables(connection, database)
        problems += checks.scores_off_the_mean(connection, database)
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
    counts = row_counts(connection, database=SOURCE)
    if not counts:
        raise PublishRefused("the warehouse has no marts; run `make run` to build them")
    taken = _stamped_tables(connection, SOURCE)
    if taken:
        marts = ", ".join(taken)
        raise PublishRefused(f"the publisher adds a column {STAMP} to every mart, but {marts} has one: rename it")
    new_id = content_id(connection, database=SOURCE)
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
        build(connection, candidate, snapshot)
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


def _audit(
    connection: Connection,
    candidate: Path,
    snapshot: Snapshot,
    current: Snapshot | None,
    may_be_empty: Collection[str],
) -> None:
    """Open the candidate as a reader will; compare it with the warehouse and the present snapshot."""
    wanted = row_counts(connection, database=SOURCE)
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

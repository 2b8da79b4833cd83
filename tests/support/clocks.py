"""A home as a clock that was ahead once leaves it: parts, results of dbt and snapshots dated in the future."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

AHEAD = datetime(2099, 1, 1, tzinfo=UTC)
WRITTEN_AT = b"rewardbase.written_at"
_TIMES = """
select tables.name, columns.name, columns.type
from sqlite_master as tables, pragma_table_info(tables.name) as columns
where tables.type = 'table' and (columns.name like '%timestamp' or columns.name in ('start_time', 'end_time'))
    and columns.name <> 'wipe_timestamp'
"""


def date_part(part: Path, when: datetime = AHEAD) -> None:
    """Give a part another time of writing."""
    table = pq.read_table(part, partitioning=None)
    metadata = {**(table.schema.metadata or {}), WRITTEN_AT: when.isoformat().encode()}
    pq.write_table(table.replace_schema_metadata(metadata), part)


def date_file(path: Path, when: datetime = AHEAD) -> None:
    """Give a file another time."""
    os.utime(path, (when.timestamp(), when.timestamp()))


def date_home(home: Path, when: datetime = AHEAD) -> None:
    """Date everything that a finished run made in the future, as if the run had taken place there."""
    for part in (home / "parts").rglob("*.parquet"):
        date_part(part, when)
        date_file(part, when)
    with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
        for table, column in (("node_results", "finished_at"), ("landed_parts", "written_at")):
            connection.execute(f"update audit.{table} set {column} = ?", [when])
    pointer = home / "published" / "current.duckdb"
    snapshot = pointer.resolve()
    ahead = snapshot.with_name(f"{when:%Y%m%dT%H%M%S-%fZ}-{snapshot.name.rpartition('-')[2]}")
    snapshot.rename(ahead)
    pointer.unlink()
    pointer.symlink_to(f"snapshots/{ahead.name}")
    sums = home / "published" / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(snapshot.name, ahead.name))
    for database in (home / "dagster" / "history").rglob("*.db"):
        with closing(sqlite3.connect(database)) as storage, storage:
            for table, column, kind in storage.execute(_TIMES).fetchall():
                value = when.timestamp() if kind == "FLOAT" else f"{when:%Y-%m-%d %H:%M:%S.%f}"
                storage.execute(f"update {table} set {column} = ?", [value])

"""Which part file the rows of each partition came from: the table `audit.landed_parts`."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from warehouse.connection import Connection, identifier, literal
from warehouse.contracts import Table
from warehouse.part_files import Part, Value

TABLE = "landed_parts"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ABOUT = "One row per partition of a raw table: the part that its rows came from."
_COLUMNS = {
    "table_name": ("VARCHAR", "Raw table."),
    "partition": ("VARCHAR", "Columns of the partition and their values, as JSON."),
    "file": ("VARCHAR", "File of the part, within the folder of parts."),
    "run_id": ("VARCHAR", "Run that wrote the part."),
    "written_at": ("TIMESTAMP WITH TIME ZONE", "When the part was written."),
    "contract": ("VARCHAR", "Fingerprint of the contract that the part was written for."),
    "n_rows": ("BIGINT", "Rows of the part."),
}


@dataclass(frozen=True)
class Landed:
    """What tells one part from another that could stand in its place; `written_us`: microseconds since 1970."""

    file: str
    run_id: str
    written_us: int
    contract: str
    n_rows: int


def identity(part: Part) -> Landed:
    """The part as it is recorded once it is landed."""
    written_us = (part.written_at - _EPOCH) // timedelta(microseconds=1)
    return Landed(part.file, part.run_id, written_us, part.contract, part.n_rows)


def key(partition: Sequence[tuple[str, Value]]) -> str:
    """A partition as text: JSON with the columns in the contract's order."""
    return json.dumps(dict(partition), ensure_ascii=False)


def prepare(connection: Connection) -> None:
    """Make the table where it is missing, with NOT NULL and comments."""
    connection.execute("create schema if not exists audit")
    columns = ", ".join(f"{identifier(name)} {kind} not null" for name, (kind, _) in _COLUMNS.items())
    connection.execute(f"create table if not exists audit.{TABLE} ({columns})")
    connection.execute(f"comment on table audit.{TABLE} is {literal(_ABOUT)}")
    for name, (_, about) in _COLUMNS.items():
        connection.execute(f"comment on column audit.{TABLE}.{identifier(name)} is {literal(about)}")


def recorded(connection: Connection, table: Table) -> dict[str, Landed] | None:
    """What was landed, by partition (`key`); None where the rows of the table are not those: then none is to be
    trusted, because somebody emptied, dropped or wrote the table behind the record's back.
    """
    if not _exists(connection, "audit", TABLE) or not _exists(connection, "raw", table.name):
        return None
    rows = connection.execute(
        f"select partition, file, run_id, epoch_us(written_at), contract, n_rows from audit.{TABLE} "
        "where table_name = ?",
        [table.name],
    ).fetchall()
    landed = {partition: Landed(*facts) for partition, *facts in rows}
    found = connection.execute(f"select count(*) from raw.{identifier(table.name)}").fetchone()
    n_rows = found[0] if found else 0
    return landed if n_rows == sum(one.n_rows for one in landed.values()) else None


def record(connection: Connection, table: Table, parts: Sequence[Part]) -> None:
    """Say that the rows of these parts are in the table now."""
    rows = pa.table(
        {
            "table_name": [table.name] * len(parts),
            "partition": [key(part.partition) for part in parts],
            "file": [part.file for part in parts],
            "run_id": [part.run_id for part in parts],
            "written_at": pa.array([part.written_at for part in parts], pa.timestamp("us", "UTC")),
            "contract": [part.contract for part in parts],
            "n_rows": pa.array([part.n_rows for part in parts], pa.int64()),
        }
    )
    connection.register("landed_now", rows)
    try:
        connection.execute(f"insert into audit.{TABLE} by name select * from landed_now")
    finally:
        connection.unregister("landed_now")


def forget(connection: Connection, table: Table, partitions: Collection[str] | None = None) -> None:
    """Strike partitions (`key`) off the record; without them, all of the table's."""
    chosen = "" if partitions is None else " and list_contains($partitions::varchar[], partition)"
    values = {"table": table.name} | ({} if partitions is None else {"partitions": sorted(partitions)})
    connection.execute(f"delete from audit.{TABLE} where table_name = $table{chosen}", values)


def _exists(connection: Connection, schema: str, name: str) -> bool:
    found = connection.execute(
        "select count(*) from duckdb_tables() "
        "where database_name = current_database() and schema_name = ? and table_name = ?",
        [schema, name],
    ).fetchone()
    return bool(found and found[0])

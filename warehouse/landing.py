"""Land Parquet parts in the tables of the schema `raw`, partition by partition, and no part twice.

The parts are the truth: a raw table can be dropped and rebuilt from them at any time, and is, where its contract has
changed. The table `audit.landed_parts` records which part the rows of each partition came from; where record and rows
disagree, the whole table is landed again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from models_train.errors import first_line
from models_train.footers import REQUESTS_AT_ONCE, source_of
from models_train.store import Parts
from warehouse.connection import Connection, has_table, identifier, literal, registered, transaction
from warehouse.contracts import TABLES, Table, describe
from warehouse.part_files import CARRIED_OVER, REMEDY, LandingError, Part, Value, is_former, newest_parts

_TYPES = {
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}
FETCHED_TOGETHER = 64
"""Parts of a bucket that are in memory at once."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RECORD = "audit.landed_parts"
_RECORD_ABOUT = "One row per partition of a raw table: the part that its rows came from."
_RECORD_COLUMNS = {
    "table_name": ("VARCHAR", "Raw table."),
    "partition": ("VARCHAR", "Columns of the partition and their values, as JSON."),
    "file": ("VARCHAR", "File of the part, within the folder of parts."),
    "run_id": ("VARCHAR", "Run that wrote the part."),
    "written_at": ("TIMESTAMP WITH TIME ZONE", "When the part was written."),
    "contract": ("VARCHAR", "Fingerprint of the contract that the part was written for."),
    "n_rows": ("BIGINT", "Rows of the part."),
}


@dataclass(frozen=True)
class _Landed:
    """Identity of a part on record: any other in its place has to be landed. written_us: microseconds since 1970."""

    file: str
    run_id: str
    written_us: int
    contract: str
    n_rows: int


def create_raw_tables(connection: Connection, parts: Parts | None = None) -> list[str]:
    """Create the raw tables that are missing, with NOT NULL and comments.

    A table that differs from its contract is dropped and created again; with `parts` its newest parts are
    landed again, without those written for the old contract: their assets have to run again.
    Returns the names of the tables whose contract had changed.
    """
    with transaction(connection):
        changed = _renew_tables(connection)
        if parts is not None:
            for name in changed:
                _land(connection, TABLES[name], newest_parts(parts, TABLES[name], fitting=True))
    return changed


def _renew_tables(connection: Connection) -> list[str]:
    changed = []
    connection.execute("create schema if not exists raw")
    _create_record(connection)
    for table in TABLES.values():
        present = _columns(connection, table)
        if present and present != _wanted(table):
            connection.execute(f"drop table {_name(table)}")
            _forget(connection, table)
            changed.append(table.name)
        _create(connection, table)
    return changed


def land_newest(connection: Connection, table: Table, parts: Parts) -> int:
    """Replace the table's rows by those of the newest part of every partition; returns the number of rows.

    Only parts that are new or changed are read; rows of partitions without a part are removed. A table whose rows are
    not those on record is landed again. One transaction: readers see the old rows or the new ones. Raises LandingError
    where a part does not fit; then the table stays as it was.
    """
    with transaction(connection):
        return _bring_up_to_date(connection, table, parts)


def rebuild(connection: Connection, parts: Parts) -> dict[str, int]:
    """Empty every raw table and land the newest part of every partition; returns the number of rows per table.

    One transaction: where a part does not fit, LandingError is raised and the tables stay as they were.
    """
    with transaction(connection):
        _renew_tables(connection)
        for table in TABLES.values():
            _empty(connection, table)
        return {name: _bring_up_to_date(connection, table, parts) for name, table in TABLES.items()}


def unlanded(connection: Connection, table: Table, parts: Parts) -> bool:
    """Whether the table's rows differ from those of the newest parts: a part is new, changed or gone, or the table
    is missing or was written by something else. Reads only. Raises LandingError for a file that is not a part.
    """
    return _recorded(connection, table) != _identities(newest_parts(parts, table))


def _bring_up_to_date(connection: Connection, table: Table, parts: Parts) -> int:
    """Land what is not landed, remove what has no part, inside the caller's transaction."""
    _create_record(connection)
    found = newest_parts(parts, table)
    landed = _recorded(connection, table)
    if landed is None:
        _empty(connection, table)
        landed = {}
    fresh = [part for part in found if landed.get(_key(part.partition)) != _identity(part)]
    for part in fresh:
        _check_part(table, part)
    gone = landed.keys() - _identities(found).keys()
    _remove(connection, table, sorted(gone | (landed.keys() & _identities(fresh).keys())))
    _land(connection, table, fresh)
    return sum(part.n_rows for part in found)


def _identities(parts: Sequence[Part]) -> dict[str, _Landed]:
    return {_key(part.partition): _identity(part) for part in parts}


def _empty(connection: Connection, table: Table) -> None:
    connection.execute(f"delete from {_name(table)}")
    _forget(connection, table)


def _remove(connection: Connection, table: Table, partitions: Collection[str]) -> None:
    """Rows of these partitions, in one pass over the table."""
    if not partitions:
        return
    values = [json.loads(partition) for partition in partitions]
    columns = {
        name: pa.array([one[name] for one in values], table.schema.field(name).type) for name in table.partition_by
    }
    same = " and ".join(f"rows.{identifier(name)} is not distinct from gone.{identifier(name)}" for name in columns)
    with registered(connection, "landing_gone", pa.table(columns)):
        connection.execute(f"delete from {_name(table)} as rows using landing_gone as gone where {same}")
    _forget(connection, table, partitions)


def _land(connection: Connection, table: Table, parts: Sequence[Part]) -> None:
    """The rows of parts whose partitions the table does not hold."""
    for start in range(0, len(parts), FETCHED_TOGETHER):
        some = parts[start : start + FETCHED_TOGETHER]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            for part, content in [(part, pool.submit(source_of, part.path)) for part in some]:
                _insert(connection, table, part, content.result)
    if parts:
        _record(connection, table, parts)


def _identity(part: Part) -> _Landed:
    written_us = (part.written_at - _EPOCH) // timedelta(microseconds=1)
    return _Landed(part.file, part.run_id, written_us, part.contract, part.n_rows)


def _key(partition: Sequence[tuple[str, Value]]) -> str:
    """A partition as text: JSON with the columns in the contract's order."""
    return json.dumps(dict(partition), ensure_ascii=False)


def _recorded(connection: Connection, table: Table) -> dict[str, _Landed] | None:
    """Landed parts by partition (`_key`); None where the rows of the table are not those, because it was emptied,
    dropped or written by something else: then none of them counts.
    """
    if not has_table(connection, "audit", "landed_parts") or not has_table(connection, "raw", table.name):
        return None
    rows = connection.execute(
        f"select partition, file, run_id, epoch_us(written_at), contract, n_rows from {_RECORD} where table_name = ?",
        [table.name],
    ).fetchall()
    landed = {partition: _Landed(*facts) for partition, *facts in rows}
    found = connection.execute(f"select count(*) from {_name(table)}").fetchone()
    return landed if found == (sum(one.n_rows for one in landed.values()),) else None


def _record(connection: Connection, table: Table, parts: Sequence[Part]) -> None:
    rows = pa.table(
        {
            "table_name": [table.name] * len(parts),
            "partition": [_key(part.partition) for part in parts],
            "file": [part.file for part in parts],
            "run_id": [part.run_id for part in parts],
            "written_at": pa.array([part.written_at for part in parts], pa.timestamp("us", "UTC")),
            "contract": [part.contract for part in parts],
            "n_rows": pa.array([part.n_rows for part in parts], pa.int64()),
        }
    )
    with registered(connection, "landed_now", rows):
        connection.execute(f"insert into {_RECORD} by name select * from landed_now")


def _forget(connection: Connection, table: Table, partitions: Collection[str] | None = None) -> None:
    """Remove partitions (`_key`) from the record; without them, all of the table's."""
    chosen = "" if partitions is None else " and list_contains($partitions::varchar[], partition)"
    values = {"table": table.name} | ({} if partitions is None else {"partitions": sorted(partitions)})
    connection.execute(f"delete from {_RECORD} where table_name = $table{chosen}", values)


def _check_part(table: Table, part: Part) -> None:
    if part.table != table.name:
        raise LandingError(f"{part.path} is a part of {part.table}, not of {table.name}; move it to its folder")
    if is_former(part):
        raise LandingError(CARRIED_OVER.format(parts=part.root))
    if tuple(name for name, _ in part.partition) != table.partition_by:
        raise LandingError(f"{part.path} is not partitioned by {', '.join(table.partition_by)}; remove it and {REMEDY}")
    schema = part.schema
    differences = [
        *(f"has no column {name}" for name in table.schema.names if name not in schema.names),
        *(f"has the unknown column {name}" for name in schema.names if name not in table.schema.names),
        *(
            f"has {schema.field(field.name).type} in column {field.name}, not {field.type}"
            for field in table.schema
            if field.name in schema.names and schema.field(field.name).type != field.type
        ),
    ]
    if not differences and part.contract != table.fingerprint:
        differences.append("was written for another version of the contract")
    if differences:
        found = "; it ".join(differences)
        raise LandingError(f"{part.path} does not fit the contract of {table.name}: it {found}; remove it and {REMEDY}")


def _insert(connection: Connection, table: Table, part: Part, source: Callable[[], Path | pa.BufferReader]) -> None:
    """Insert the rows of a part. source: gives what they are read from, or raises like `source_of`."""
    columns = ", ".join(identifier(name) for name in table.schema.names)
    try:
        with pq.ParquetFile(source(), page_checksum_verification=True) as file:
            rows = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
            with registered(connection, "landing_rows", rows):
                connection.execute(f"insert into {_name(table)} ({columns}) select {columns} from landing_rows")
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        text = f"{part.path} cannot be landed in {table.name} ({first_line(error)}); remove it and {REMEDY}"
        raise LandingError(text) from error


def _name(table: Table) -> str:
    return f"raw.{identifier(table.name)}"


def _wanted(table: Table) -> list[tuple[str, str, bool]]:
    return [(field.name, _TYPES[field.type], field.nullable) for field in table.schema]


def _columns(connection: Connection, table: Table) -> list[tuple[str, str, bool]]:
    """Columns of the table as it is in the database: name, type, nullable; empty where there is none."""
    return connection.execute(
        "select column_name, data_type, is_nullable from duckdb_columns() "
        "where database_name = current_database() and schema_name = 'raw' and table_name = ? "
        "order by column_index",
        [table.name],
    ).fetchall()


def _create(connection: Connection, table: Table) -> None:
    columns = {name: f"{kind}{'' if nullable else ' not null'}" for name, kind, nullable in _wanted(table)}
    comments = {field.name: describe(field) for field in table.schema}
    _create_table(connection, _name(table), columns, table.description, comments)


def _create_record(connection: Connection) -> None:
    connection.execute("create schema if not exists audit")
    columns = {name: f"{kind} not null" for name, (kind, _) in _RECORD_COLUMNS.items()}
    comments = {name: about for name, (_, about) in _RECORD_COLUMNS.items()}
    _create_table(connection, _RECORD, columns, _RECORD_ABOUT, comments)


def _create_table(
    connection: Connection, name: str, columns: dict[str, str], about: str, comments: dict[str, str]
) -> None:
    """Create a table where it is missing, and comment it and its columns. columns: type and constraint by name."""
    listed = ", ".join(f"{identifier(column)} {kind}" for column, kind in columns.items())
    connection.execute(f"create table if not exists {name} ({listed})")
    connection.execute(f"comment on table {name} is {literal(about)}")
    for column, comment in comments.items():
        connection.execute(f"comment on column {name}.{identifier(column)} is {literal(comment)}")

"""Parquet parts -> tables of the schema `raw`, idempotent by partition, and no part is landed twice.

The parts are the truth: a raw table can be dropped and rebuilt from them at any time, and is, where its
contract has changed. What was landed is on record (`warehouse.landed_parts`); where the record and the rows
disagree, the table is landed anew.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse import landed_parts
from warehouse.connection import Connection, identifier, literal, transaction
from warehouse.contracts import TABLES, Table, describe
from warehouse.landed_parts import Landed
from warehouse.part_files import (
    REMEDY,
    LandingError,
    Part,
    newest_parts,
    read_part,
    restore_parts,
    retire_models,
    retire_parts,
)

__all__ = [
    "LandingError",
    "Part",
    "create_raw_tables",
    "land",
    "land_newest",
    "newest_parts",
    "read_part",
    "rebuild",
    "restore_parts",
    "retire_models",
    "retire_parts",
    "unlanded",
]

_TYPES = {
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}


def create_raw_tables(connection: Connection, parts_dir: Path | None = None) -> list[str]:
    """Make the raw tables that are missing, with NOT NULL and comments.

    A table that differs from its contract is dropped and made anew; with `parts_dir` its newest parts are
    landed again. Parts written for the old contract are passed over: their assets have to run again.
    Returns the names of the tables whose contract had changed.
    """
    with transaction(connection):
        changed = _renew_tables(connection)
        if parts_dir is not None:
            for name in changed:
                _land(connection, TABLES[name], newest_parts(parts_dir, TABLES[name], fitting=True))
    return changed


def _renew_tables(connection: Connection) -> list[str]:
    changed = []
    connection.execute("create schema if not exists raw")
    landed_parts.prepare(connection)
    for table in TABLES.values():
        present = _columns(connection, table)
        if present and present != _wanted(table):
            connection.execute(f"drop table {_name(table)}")
            landed_parts.forget(connection, table)
            changed.append(table.name)
        _create(connection, table)
    return changed


def land(connection: Connection, table: Table, part: Path) -> int:
    """Put one part into its raw table in place of the rows of the same partition; returns the number of rows.

    One transaction: readers see the old rows or the new ones. The table must exist (`create_raw_tables`).
    Raises LandingError where the part is unreadable, of another table, or does not fit the contract.
    """
    facts = read_part(part)
    _check_part(table, facts)
    with transaction(connection):
        _remove(connection, table, [landed_parts.key(facts.partition)])
        _land(connection, table, [facts])
    return facts.n_rows


def land_newest(connection: Connection, table: Table, parts_dir: Path) -> int:
    """Make the table's rows those of the newest part of every partition; returns the rows there are.

    Only parts that are new or changed are read; rows of partitions without a part go. A table whose rows are not
    those on record is landed anew. One transaction. Raises LandingError where a part does not fit; then the table
    stays as it was.
    """
    with transaction(connection):
        return _bring_up_to_date(connection, table, parts_dir)


def rebuild(connection: Connection, parts_dir: Path) -> dict[str, int]:
    """Land the newest part of every partition into every raw table anew; returns the number of rows per table.

    Rows of partitions that have no part any more go. All in one transaction: where a part does not fit,
    LandingError is raised and the tables stay as they were.
    """
    with transaction(connection):
        _renew_tables(connection)
        for table in TABLES.values():
            _empty(connection, table)
        return {name: _bring_up_to_date(connection, table, parts_dir) for name, table in TABLES.items()}


def unlanded(connection: Connection, table: Table, parts_dir: Path) -> bool:
    """Whether the table's rows are not those of the newest parts: a part is new or changed, one is gone, or the table
    is not there or was written by something else. Reads only. Raises LandingError for a file that is not a part.
    """
    return landed_parts.recorded(connection, table) != _identities(newest_parts(parts_dir, table))


def _bring_up_to_date(connection: Connection, table: Table, parts_dir: Path) -> int:
    """Land what is not landed, remove what has no part, inside the caller's transaction."""
    landed_parts.prepare(connection)
    parts = newest_parts(parts_dir, table)
    landed = landed_parts.recorded(connection, table)
    if landed is None:
        _empty(connection, table)
        landed = {}
    fresh = [part for part in parts if landed.get(landed_parts.key(part.partition)) != landed_parts.identity(part)]
    for part in fresh:
        _check_part(table, part)
    gone = landed.keys() - _identities(parts).keys()
    _remove(connection, table, sorted(gone | (landed.keys() & _identities(fresh).keys())))
    _land(connection, table, fresh)
    return sum(part.n_rows for part in parts)


def _identities(parts: Sequence[Part]) -> dict[str, Landed]:
    return {landed_parts.key(part.partition): landed_parts.identity(part) for part in parts}


def _empty(connection: Connection, table: Table) -> None:
    connection.execute(f"delete from {_name(table)}")
    landed_parts.forget(connection, table)


def _remove(connection: Connection, table: Table, partitions: Collection[str]) -> None:
    """Rows of these partitions, in one pass over the table."""
    if not partitions:
        return
    values = [json.loads(partition) for partition in partitions]
    columns = {
        name: pa.array([one[name] for one in values], table.schema.field(name).type) for name in table.partition_by
    }
    same = " and ".join(f"rows.{identifier(name)} is not distinct from gone.{identifier(name)}" for name in columns)
    connection.register("landing_gone", pa.table(columns))
    try:
        connection.execute(f"delete from {_name(table)} as rows using landing_gone as gone where {same}")
    finally:
        connection.unregister("landing_gone")
    landed_parts.forget(connection, table, partitions)


def _land(connection: Connection, table: Table, parts: Sequence[Part]) -> None:
    """The rows of parts whose partitions the table does not hold."""
    for part in parts:
        _insert(connection, table, part)
    if parts:
        landed_parts.record(connection, table, parts)


def _check_part(table: Table, part: Part) -> None:
    if part.table != table.name:
        raise LandingError(f"{part.path} is a part of {part.table}, not of {table.name}; land it there")
    if tuple(name for name, _ in part.partition) != table.partition_by:
        raise LandingError(f"{part.path} is not partitioned by {', '.join(table.partition_by)}; {REMEDY}")
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
        raise LandingError(f"{part.path} does not fit the contract of {table.name}: it {found}; {REMEDY}")


def _insert(connection: Connection, table: Table, part: Part) -> None:
    columns = ", ".join(identifier(name) for name in table.schema.names)
    with pq.ParquetFile(part.path) as file:
        rows = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
        connection.register("landing_rows", rows)
        try:
            connection.execute(f"insert into {_name(table)} ({columns}) select {columns} from landing_rows")
        except (duckdb.Error, pa.ArrowException) as error:
            text = f"{part.path} cannot be landed in {table.name} ({str(error).splitlines()[0]}); {REMEDY}"
            raise LandingError(text) from error
        finally:
            connection.unregister("landing_rows")


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
    columns = ", ".join(
        f"{identifier(name)} {kind}{'' if nullable else ' not null'}" for name, kind, nullable in _wanted(table)
    )
    connection.execute(f"create table if not exists {_name(table)} ({columns})")
    connection.execute(f"comment on table {_name(table)} is {literal(table.description)}")
    for field in table.schema:
        column = f"{_name(table)}.{identifier(field.name)}"
        connection.execute(f"comment on column {column} is {literal(describe(field))}")

"""Parquet parts -> tables of the schema `raw`, idempotent by partition.

The parts are the truth: a raw table can be dropped and rebuilt from them at any time, and is, where its
contract has changed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.connection import Connection, identifier, literal, transaction
from warehouse.contracts import TABLES, Table, describe

_TYPES = {
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", "UTC"): "TIMESTAMP WITH TIME ZONE",
}
_REMEDY = "materialize the asset that writes it again"


class LandingError(RuntimeError):
    """A part cannot be landed. The message names the file and the remedy."""


@dataclass(frozen=True)
class Part:
    """What a part says of itself: table, partition (column -> value), run, time, contract, number of rows."""

    path: Path
    table: str
    partition: tuple[tuple[str, str], ...]
    run_id: str
    written_at: datetime
    contract: str
    n_rows: int


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
                for part in _newest(parts_dir, TABLES[name], fitting=True):
                    _replace_partition(connection, TABLES[name], part)
    return changed


def _renew_tables(connection: Connection) -> list[str]:
    changed = []
    connection.execute("create schema if not exists raw")
    for table in TABLES.values():
        present = _columns(connection, table)
        if present and present != _wanted(table):
            connection.execute(f"drop table {_name(table)}")
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
        return _replace_partition(connection, table, facts)


def newest_parts(parts_dir: Path, table: Table) -> dict[str, Path]:
    """Per study the part that was written last. Raises LandingError for a file that is not a part."""
    return {dict(part.partition)["study_id"]: part.path for part in _newest(parts_dir, table)}


def retire_parts(parts_dir: Path, study_ids: Collection[str]) -> list[str]:
    """Set aside the parts of all studies but `study_ids`, under `<parts>/.retired`; returns `table/study` of each.

    They are not deleted: a study file that comes back is checked and written anew anyway.
    """
    retired = []
    for name in TABLES:
        for folder in sorted((parts_dir / name).glob("*")):
            if folder.is_dir() and folder.name not in study_ids:
                away = parts_dir / ".retired" / name / folder.name
                shutil.rmtree(away, ignore_errors=True)
                away.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(away)
                retired.append(f"{name}/{folder.name}")
    return retired


def land_newest(connection: Connection, table: Table, parts_dir: Path) -> int:
    """Land the newest part of every study and remove the rows of studies that have none; returns the rows there are.

    One transaction. Raises LandingError where a part does not fit; then the table stays as it was.
    """
    with transaction(connection):
        return _replace_all(connection, table, parts_dir)


def rebuild(connection: Connection, parts_dir: Path) -> dict[str, int]:
    """Land the newest part of every study into every raw table; returns the number of rows per table.

    Rows of studies that have no part any more go. All in one transaction: where a part does not fit,
    LandingError is raised and the tables stay as they were.
    """
    with transaction(connection):
        _renew_tables(connection)
        return {name: _replace_all(connection, table, parts_dir) for name, table in TABLES.items()}


def _replace_all(connection: Connection, table: Table, parts_dir: Path) -> int:
    """The newest parts in place of all rows of the table, inside the caller's transaction."""
    parts = _newest(parts_dir, table)
    for part in parts:
        _check_part(table, part)
    connection.execute(f"delete from {_name(table)}")
    return sum(_replace_partition(connection, table, part) for part in parts)


def read_part(path: Path) -> Part:
    """What a part's metadata says. Raises LandingError for a file that is missing, damaged or not a part."""
    try:
        with pq.ParquetFile(path) as file:
            metadata: Mapping[bytes, bytes] = file.schema_arrow.metadata or {}
            n_rows = file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        first = str(error).splitlines()[0]
        raise LandingError(f"{path} cannot be read as Parquet ({first}); remove it and {_REMEDY}") from error
    try:
        said = {name: metadata[f"rewardbase.{name}".encode()].decode() for name in _METADATA}
        partition = {str(name): str(value) for name, value in json.loads(said["partition"]).items()}
        written_at = datetime.fromisoformat(said["written_at"]).astimezone(UTC)
    except (KeyError, ValueError, AttributeError) as error:
        text = f"{path} is not a part: its metadata lacks {error}; remove it and {_REMEDY}"
        raise LandingError(text) from error
    return Part(
        Path(path),
        said["table"],
        tuple(partition.items()),
        said["run_id"],
        written_at,
        said["contract"],
        n_rows,
    )


_METADATA = ("table", "partition", "run_id", "written_at", "contract")


def _newest(parts_dir: Path, table: Table, fitting: bool = False) -> list[Part]:
    """Per partition the part written last; with `fitting`, among those of the present contract."""
    newest: dict[tuple[tuple[str, str], ...], Part] = {}
    for path in sorted((parts_dir / table.name).glob("*/*.parquet")):
        part = read_part(path)
        if fitting and part.contract != table.fingerprint:
            continue
        known = newest.get(part.partition)
        if known is None or part.written_at >= known.written_at:
            newest[part.partition] = part
    return list(newest.values())


def _check_part(table: Table, part: Part) -> None:
    if part.table != table.name:
        raise LandingError(f"{part.path} is a part of {part.table}, not of {table.name}; land it there")
    if tuple(name for name, _ in part.partition) != table.partition_by:
        raise LandingError(f"{part.path} is not partitioned by {', '.join(table.partition_by)}; {_REMEDY}")
    schema = pq.read_schema(part.path)
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
        raise LandingError(f"{part.path} does not fit the contract of {table.name}: it {found}; {_REMEDY}")


def _replace_partition(connection: Connection, table: Table, part: Part) -> int:
    where = " and ".join(f"{identifier(name)} = ?" for name, _ in part.partition)
    values = [value for _, value in part.partition]
    connection.execute(f"delete from {_name(table)} where {where}", values)
    columns = ", ".join(identifier(name) for name in table.schema.names)
    with pq.ParquetFile(part.path) as file:
        rows = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
        connection.register("landing_rows", rows)
        try:
            connection.execute(f"insert into {_name(table)} ({columns}) select {columns} from landing_rows")
        except (duckdb.Error, pa.ArrowException) as error:
            text = f"{part.path} cannot be landed in {table.name} ({str(error).splitlines()[0]}); {_REMEDY}"
            raise LandingError(text) from error
        finally:
            connection.unregister("landing_rows")
    return part.n_rows


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

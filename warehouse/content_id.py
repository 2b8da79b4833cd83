"""Tables of a schema, and a hash of all their rows that does not depend on the order of rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from warehouse.connection import Connection, identifier

SNAPSHOT_TABLE = "snapshot"
"""Table of a published snapshot that names the snapshot; not part of the content."""

STAMP = "snapshot_id"
"""Last column of every table of a published snapshot, the snapshot's id; not part of the content."""

BUILT_BY = "built_by"
"""Column of incremental tables, the dbt invocation that wrote a row; not part of the content."""

_FLOATS = ("DOUBLE", "FLOAT")


@dataclass(frozen=True)
class Column:
    """One column as DuckDB describes it."""

    name: str
    type: str
    is_nullable: bool
    comment: str | None


@dataclass(frozen=True)
class TableFacts:
    """One table as DuckDB describes it, with its columns in order."""

    name: str
    comment: str | None
    columns: tuple[Column, ...]


def tables(connection: Connection, schema: str = "marts", database: str | None = None) -> list[TableFacts]:
    """The tables of a schema by name, without the table `snapshot` and the column `snapshot_id` of a published file."""
    place = [database or _current(connection), schema]
    columns: dict[str, list[Column]] = {}
    for table, *facts in connection.execute(
        "select table_name, column_name, data_type, is_nullable, comment from duckdb_columns() "
        "where database_name = ? and schema_name = ? and column_name not in (?, ?) order by table_name, column_index",
        [*place, STAMP, BUILT_BY],
    ).fetchall():
        columns.setdefault(table, []).append(Column(*facts))
    listed = connection.execute(
        "select table_name, comment from duckdb_tables() "
        "where database_name = ? and schema_name = ? and table_name <> ? order by table_name",
        [*place, SNAPSHOT_TABLE],
    ).fetchall()
    return [TableFacts(name, comment, tuple(columns[name])) for name, comment in listed]


def row_counts(connection: Connection, schema: str = "marts", database: str | None = None) -> dict[str, int]:
    """Number of rows of each table of a schema."""
    database = database or _current(connection)
    counts = {}
    for table in tables(connection, schema, database):
        found = connection.execute(f"select count(*) from {qualified(database, schema, table.name)}").fetchone()
        counts[table.name] = int(found[0]) if found else 0
    return counts


def content_id(connection: Connection, schema: str = "marts", database: str | None = None) -> str:
    """12 hex digits over all tables of a schema: names, column names and types, counts, rows.

    The order of rows does not matter: row hashes are added up. Floating-point columns count with 12 significant
    digits, because a sum that several threads took may differ in its last bits from run to run.
    """
    database = database or _current(connection)
    return _digest([_content(connection, database, schema, table) for table in tables(connection, schema, database)])


def table_ids(connection: Connection, schemas: Sequence[str], database: str | None = None) -> dict[str, str]:
    """12 hex digits over the rows of each table of some schemas, by `schema.table`; as `content_id` counts them."""
    database = database or _current(connection)
    return {
        f"{schema}.{table.name}": _digest(_content(connection, database, schema, table))
        for schema in schemas
        for table in tables(connection, schema, database)
    }


def _content(connection: Connection, database: str, schema: str, table: TableFacts) -> list[object]:
    """Name, columns, number of rows and sum of their hashes."""
    shape = [[column.name, column.type] for column in table.columns]
    cells = ", ".join(f"{identifier(column.name)} := {_cell(column)}" for column in table.columns)
    counted = connection.execute(
        f"select count(*), sum(md5_number_lower(struct_pack({cells})::varchar))::varchar "
        f"from {qualified(database, schema, table.name)}"
    ).fetchone()
    return [table.name, shape, *(counted or ())]


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def qualified(database: str, schema: str, table: str) -> str:
    """A table's full name, quoted."""
    return ".".join(identifier(part) for part in (database, schema, table))


def _cell(column: Column) -> str:
    name = identifier(column.name)
    # Adding zero makes -0.0 equal to 0.0.
    return f"format('{{:.12g}}', {name}::double + 0)" if column.type in _FLOATS else name


def _current(connection: Connection) -> str:
    found = connection.execute("select current_database()").fetchone()
    return str(found[0]) if found else ""

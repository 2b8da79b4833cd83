"""What dbt leaves behind when a model, seed or test is renamed or removed: its relation, and its last result."""

from __future__ import annotations

from collections.abc import Collection

from warehouse.connection import Connection, identifier

SCHEMAS = ("seeds", "staging", "intermediate", "marts")
"""Schemas that hold nothing but what dbt builds."""


def relations(connection: Connection) -> dict[str, str]:
    """Tables and views of the warehouse: `schema/name` -> `BASE TABLE` or `VIEW`."""
    rows = connection.execute(
        "select table_schema || '/' || table_name, table_type from information_schema.tables "
        "where table_catalog = current_database()"
    ).fetchall()
    return dict(rows)


def tidy(connection: Connection, known_relations: Collection[str], known_nodes: Collection[str]) -> list[str]:
    """Drop the relations of dbt's schemas that are not among `known_relations` (`schema/name`) and forget the results
    of nodes that are not among `known_nodes`; returns the names of what was dropped.

    Without this a renamed mart would be published for ever, and a test that failed and was then removed would refuse
    every snapshot.
    """
    present = relations(connection)
    dropped = [name for name in sorted(present) if name.split("/")[0] in SCHEMAS and name not in set(known_relations)]
    for name in dropped:
        schema, table = name.split("/", 1)
        kind = "view" if present[name] == "VIEW" else "table"
        connection.execute(f"drop {kind} if exists {identifier(schema)}.{identifier(table)} cascade")
    if "audit/node_results" in present:
        connection.execute(
            "delete from audit.node_results where not list_contains($known::varchar[], node_id)",
            {"known": sorted(known_nodes)},
        )
    return dropped

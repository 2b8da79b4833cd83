"""Records of dbt in the warehouse: results of its nodes (`audit.node_results`), and relations of removed models."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from warehouse.connection import Connection, has_table, identifier

SCHEMAS = ("seeds", "staging", "intermediate", "marts")
"""Schemas that hold only relations built by dbt."""
_GOOD = ("success", "pass", "warn", "no-op")


@dataclass(frozen=True)
class NodeProblem:
    """A reason not to publish. node_id: of the dbt node; None where there are no results at all."""

    node_id: str | None
    text: str


def problems(connection: Connection, database: str, expected: Collection[str] = ()) -> list[NodeProblem]:
    """Reasons not to publish the marts of a database, by its table `audit.node_results`.

    That table has the latest result of every dbt node (macro `record_node_results`). A node that failed or was skipped
    is a problem, and so are a data test older than the latest build of something it tests, and a node of `expected`
    (ids) that never ran. Unit tests run before their model is built, so their age says nothing.
    """
    if not has_table(connection, "audit", "node_results", database):
        return [NodeProblem(None, "the warehouse has no record of dbt's tests (audit.node_results)")]
    results = f"{identifier(database)}.audit.node_results"
    ran = {node for (node,) in connection.execute(f"select node_id from {results}").fetchall()}
    never = [NodeProblem(node, f"{node} never ran") for node in sorted(set(expected) - ran)]
    found = _failed(connection, results) + _out_of_date(connection, results) + never
    tested = connection.execute(
        f"select count(*) from {results} where resource_type = 'test' and status in ('pass', 'warn')"
    ).fetchone()
    if not found and (not tested or not tested[0]):
        found.append(NodeProblem(None, "no dbt test is on record"))
    return found


def _failed(connection: Connection, results: str) -> list[NodeProblem]:
    rows = connection.execute(
        f"select node_id, resource_type, name, status, failures, message from {results} "
        f"where not list_contains($good::varchar[], lower(status)) order by status = 'skipped', resource_type, name",
        {"good": list(_GOOD)},
    ).fetchall()
    found = []
    for node, kind, name, status, failures, message in rows:
        count = f", {failures} rows" if failures else ""
        because = f": {' '.join(message.split())[:200]}" if message else ""
        found.append(NodeProblem(node, f"{kind} {name} ended with '{status}'{count}{because}"))
    return found


def _out_of_date(connection: Connection, results: str) -> list[NodeProblem]:
    rows = connection.execute(
        f"""
        with tested as (
            select node_id as test_id, name, finished_at, unnest(string_split(depends_on, ',')) as node_id
            from {results}
            where resource_type = 'test'
        )

        select tested.test_id, tested.name, string_agg(built.name, ', ' order by built.name)
        from tested
        inner join {results} as built on trim(tested.node_id) = built.node_id
        where built.resource_type <> 'test'
            and lower(built.status) = 'success'
            and built.finished_at > tested.finished_at
        group by tested.test_id, tested.name
        order by tested.name
        """
    ).fetchall()
    return [NodeProblem(test, f"test {name} has not run since {built} was built") for test, name, built in rows]


def relations(connection: Connection) -> dict[str, str]:
    """Tables and views of the warehouse: `schema/name` -> `BASE TABLE` or `VIEW`."""
    rows = connection.execute(
        "select table_schema || '/' || table_name, table_type from information_schema.tables "
        "where table_catalog = current_database()"
    ).fetchall()
    return dict(rows)


def drop_removed(connection: Connection, known_relations: Collection[str], known_nodes: Collection[str]) -> list[str]:
    """Drop the relations of dbt's schemas that are not in `known_relations` (`schema/name`), and forget the results of
    nodes that are not in `known_nodes` (ids); returns the names of what was dropped.

    A renamed mart would otherwise stay published, and a failed test that was removed would refuse every snapshot.
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

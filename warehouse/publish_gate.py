"""May this warehouse be published? Only if every dbt node went well and every model was tested since."""

from __future__ import annotations

from collections.abc import Collection

from warehouse.connection import Connection, identifier

MOST_NAMED = 10
_GOOD = ("success", "pass", "warn", "no-op")


class PublishError(RuntimeError):
    """Nothing was published; the old snapshot and its pointer are untouched."""


class PublishRefused(PublishError):
    """The content is not fit to be published. The message names what is wrong and what to do."""


def check_gate(connection: Connection, database: str, expected: Collection[str] = ()) -> None:
    """Raise PublishRefused unless `audit.node_results` of the database says that all is well.

    expected: ids of the nodes that must have a result; one that never ran refuses.

    That table has one row per dbt node, its latest result. A node that failed or was skipped refuses, and so
    does a data test older than the latest successful build of something it tests. (Unit tests run before
    their model is built, so their age says nothing.)
    """
    results = f"{identifier(database)}.audit.node_results"
    present = connection.execute(
        "select count(*) from duckdb_tables() "
        "where database_name = ? and schema_name = 'audit' and table_name = 'node_results'",
        [database],
    ).fetchone()
    if not present or not present[0]:
        raise PublishRefused("the warehouse has no record of dbt's tests (audit.node_results); run `make run`")
    problems = _unsound(connection, results) + _out_of_date(connection, results)
    ran = {node for (node,) in connection.execute(f"select node_id from {results}").fetchall()}
    problems += [f"{node} never ran" for node in sorted(set(expected) - ran)]
    tested = connection.execute(
        f"select count(*) from {results} where resource_type = 'test' and status in ('pass', 'warn')"
    ).fetchone()
    if not problems and (not tested or not tested[0]):
        problems.append("no dbt test is on record; run `dbt build` with its tests")
    if problems:
        shown = problems[:MOST_NAMED]
        if len(problems) > MOST_NAMED:
            shown.append(f"... and {len(problems) - MOST_NAMED} more")
        lines = "\n".join(f"- {problem}" for problem in shown)
        raise PublishRefused(
            f"nothing is published, the old snapshot stays:\n{lines}\n"
            "Mend the data or the model and run `make run` again."
        )


def _unsound(connection: Connection, results: str) -> list[str]:
    marks = ", ".join("?" for _ in _GOOD)
    found = connection.execute(
        f"select resource_type, name, status, failures, message from {results} "
        f"where lower(status) not in ({marks}) order by status = 'skipped', resource_type, name",
        list(_GOOD),
    ).fetchall()
    problems = []
    for kind, name, status, failures, message in found:
        rows = f", {failures} rows" if failures else ""
        because = f": {' '.join(message.split())[:200]}" if message else ""
        problems.append(f"{kind} {name} ended with '{status}'{rows}{because}")
    return problems


def _out_of_date(connection: Connection, results: str) -> list[str]:
    found = connection.execute(
        f"""
        with tested as (
            select name, finished_at, unnest(string_split(depends_on, ',')) as node_id
            from {results}
            where resource_type = 'test'
        )

        select tested.name, string_agg(built.name, ', ' order by built.name)
        from tested
        inner join {results} as built on trim(tested.node_id) = built.node_id
        where built.resource_type <> 'test'
            and lower(built.status) = 'success'
            and built.finished_at > tested.finished_at
        group by tested.name
        order by tested.name
        """
    ).fetchall()
    return [f"test {name} has not run since {built} was built; run `dbt build`" for name, built in found]

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
    if not _is_recorded(connection, database):
        raise PublishRefused("the warehouse has no record of dbt's tests (audit.node_results); run `make run`")
    results = _results(database)
    problems = [problem for _, problem in _problems(connection, results, expected)]
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
            "Mend the data or the model and run `make run` again; `make all` builds what it is made from again, too."
        )


def nodes_in_the_way(connection: Connection, database: str, expected: Collection[str] = ()) -> set[str]:
    """Ids of the nodes for which check_gate refuses; none where it does not, or where nothing is on record."""
    if not _is_recorded(connection, database):
        return set()
    return {node for node, _ in _problems(connection, _results(database), expected)}


def _results(database: str) -> str:
    return f"{identifier(database)}.audit.node_results"


def _is_recorded(connection: Connection, database: str) -> bool:
    present = connection.execute(
        "select count(*) from duckdb_tables() "
        "where database_name = ? and schema_name = 'audit' and table_name = 'node_results'",
        [database],
    ).fetchone()
    return bool(present and present[0])


def _problems(connection: Connection, results: str, expected: Collection[str]) -> list[tuple[str, str]]:
    """Node ids, each with what is wrong with it in words."""
    ran = {node for (node,) in connection.execute(f"select node_id from {results}").fetchall()}
    never = [(node, f"{node} never ran") for node in sorted(set(expected) - ran)]
    return _unsound(connection, results) + _out_of_date(connection, results) + never


def _unsound(connection: Connection, results: str) -> list[tuple[str, str]]:
    marks = ", ".join("?" for _ in _GOOD)
    found = connection.execute(
        f"select node_id, resource_type, name, status, failures, message from {results} "
        f"where lower(status) not in ({marks}) order by status = 'skipped', resource_type, name",
        list(_GOOD),
    ).fetchall()
    problems = []
    for node, kind, name, status, failures, message in found:
        rows = f", {failures} rows" if failures else ""
        because = f": {' '.join(message.split())[:200]}" if message else ""
        problems.append((node, f"{kind} {name} ended with '{status}'{rows}{because}"))
    return problems


def _out_of_date(connection: Connection, results: str) -> list[tuple[str, str]]:
    found = connection.execute(
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
    return [(test, f"test {name} has not run since {built} was built; run `dbt build`") for test, name, built in found]

"""Publishing: gate, snapshot, audit, pointer; whatever fails, readers keep what they had."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from models_train.errors import UserError
from tests.support.publishing import MARTS, change
from warehouse import publish as publishing
from warehouse.connection import WarehouseMissing, read, write
from warehouse.content_id import content_id
from warehouse.paths import Home
from warehouse.publish import PublishRefused, Snapshot, current_snapshot, publish


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Home(tmp_path_factory.mktemp("made"))
    change(made, MARTS)
    return made.warehouse


@pytest.fixture
def home(tmp_path: Path, warehouse: Path) -> Home:
    copied = Home(tmp_path / "var").ensure()
    shutil.copy(warehouse, copied.warehouse)
    return copied


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with read(path) as connection:
        return connection.execute(sql).fetchall()


def files(home: Home) -> set[str]:
    return {str(path.relative_to(home.published)) for path in home.published.rglob("*")}


def test_the_first_snapshot(home: Home) -> None:
    snapshot = publish(home)
    assert snapshot.changed and (snapshot.n_tables, snapshot.n_rows) == (2, 1003)
    assert len(snapshot.id) == 12 and snapshot.path.name.endswith(f"Z-{snapshot.id}.duckdb")
    assert os.readlink(home.current) == f"snapshots/{snapshot.path.name}"
    assert files(home) == {"snapshots", "current.duckdb", "SHA256SUMS", f"snapshots/{snapshot.path.name}"}
    assert stat.S_IMODE(snapshot.path.stat().st_mode) == 0o444
    assert current_snapshot(home) == Snapshot(snapshot.id, snapshot.path, snapshot.created_at, 2, 1003, changed=False)
    source = ask(home.warehouse, "select * from marts.fct_results order by all")
    for table in ("fct_results", "marts.fct_results"):
        assert ask(home.current, f"select * exclude (snapshot_id) from {table} order by all") == source
    assert ask(home.current, "select snapshot_id, studies from snapshot") == [(snapshot.id, "lab, published")]


def test_a_snapshot_keeps_not_null_and_comments_and_can_be_moved(home: Home, tmp_path: Path) -> None:
    publish(home)
    described = (
        "select table_name, column_name, is_nullable, comment from duckdb_columns() "
        "where schema_name = 'marts' and table_name <> 'snapshot' and column_name <> 'snapshot_id' order by all"
    )
    assert ask(home.current, described) == ask(home.warehouse, described)
    about = [("Results; one row per model's run.",)]
    assert ask(home.current, "select comment from duckdb_tables() where table_name = 'fct_results'") == about
    assert ask(home.current, "select comment from duckdb_views() where view_name = 'fct_results'") == about
    undescribed = "select column_name from duckdb_columns() where table_name = 'snapshot' and comment is null"
    assert ask(home.current, f"{undescribed} and schema_name = 'marts'") == []
    moved = tmp_path / "any-name.duckdb"
    moved.write_bytes(home.current.read_bytes())
    assert ask(moved, "select count(*) from fct_results") == [(1001,)]


def test_every_table_bears_the_stamp(home: Home) -> None:
    change(home, "create table marts.dim_nothing (study_id varchar)")
    for number in (1, 2):
        change(home, f"update marts.fct_results set n = {number} where model_id = 'm2'")
        snapshot = publish(home, may_be_empty=["dim_nothing"])
        for table, n_rows in (("dim_studies", 2), ("fct_results", 1001), ("snapshot", 1)):
            found = [(snapshot.id, n_rows)]
            assert ask(home.current, f"select snapshot_id, count(*) from {table} group by all") == found
        default = "select column_default from duckdb_columns() where column_name = 'snapshot_id'"
        assert set(ask(home.current, f"{default} and table_name = 'dim_nothing' and schema_name = 'marts'")) == {
            (f"'{snapshot.id}'",)
        }


def test_an_older_file_without_stamps_is_published_again(home: Home) -> None:
    first = publish(home)
    os.chmod(first.path, 0o644)
    change_file = "alter table marts.fct_results drop column snapshot_id"
    with write(first.path) as connection:
        connection.execute(f"drop view fct_results; {change_file}")
    again = publish(home)
    assert again.changed and again.id == first.id and again.path != first.path
    assert not publish(home).changed


def test_a_mart_with_a_column_of_the_stamps_name_is_refused(home: Home) -> None:
    change(home, "alter table marts.fct_results add column snapshot_id varchar")
    with pytest.raises(PublishRefused, match="fct_results has one: rename it"):
        publish(home)


def test_equal_content_is_not_published_again(home: Home) -> None:
    first = publish(home)
    change(
        home,
        "create or replace table marts.fct_results as select * from marts.fct_results order by score desc",
    )
    again = publish(home)
    assert not again.changed and again.id == first.id and again.path == first.path
    assert len(list(home.snapshots.iterdir())) == 1
    change(home, "update marts.fct_results set n = 7 where model_id = 'm1'")
    second = publish(home)
    assert second.changed and second.id != first.id and home.current.resolve() == second.path


def test_content_id_is_order_free_and_sees_every_change(tmp_path: Path) -> None:
    def id_of(*statements: str) -> str:
        with duckdb.connect() as connection:
            connection.execute("create schema marts; create table marts.t (a varchar, b double, c bigint[])")
            for statement in statements:
                connection.execute(statement)
            return content_id(connection)

    rows = ["insert into marts.t values ('x', 0.3, [1, 2])", "insert into marts.t values (null, null, null)"]
    base = id_of(*rows)
    assert len(base) == 12 and set(base) <= set("0123456789abcdef")
    assert id_of(*reversed(rows)) == base
    assert id_of(rows[0].replace("0.3", "0.1e0 + 0.2e0"), rows[1]) == base
    assert id_of(rows[0].replace("0.3", "-0e0")) == id_of(rows[0].replace("0.3", "0e0"))
    assert id_of(*rows, "create table t (a int)") == base  # another schema
    assert id_of(*rows, "create table marts.snapshot (a int)") == base
    others = [
        [rows[0]],
        [*rows, rows[0]],
        [rows[0], rows[0], rows[1]],
        [rows[0].replace("0.3", "0.3000001"), rows[1]],
        [rows[0].replace("[1, 2]", "[2, 1]"), rows[1]],
        [rows[0], rows[1].replace("(null", "('NULL'")],
        [rows[0], rows[1].replace("(null", "(''")],
        [*rows, "alter table marts.t rename a to z"],
        [*rows, "alter table marts.t alter c type integer[]"],
        [*rows, "alter table marts.t rename to u"],
        [*rows, "create table marts.u (a int)"],
    ]
    ids = [base, *(id_of(*statements) for statements in others)]
    assert ids[2] == ids[3]
    assert len(set(ids)) == len(ids) - 1


UPDATE = "update audit.node_results set {} where name = '{}'"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (UPDATE.format("status = 'fail', failures = 3", "grain"), "test grain ended with 'fail', 3 rows"),
        (
            UPDATE.format("status = 'error', message = 'no\nsuch column'", "fct_results"),
            "'error': no such column",
        ),
        (UPDATE.format("status = 'skipped'", "dim_studies"), "model dim_studies ended with 'skipped'"),
        (UPDATE.format("status = 'fail'", "u"), "unit_test u ended with 'fail'"),
        (
            UPDATE.format("finished_at = '2026-01-01 12:00:30+02'", "grain"),
            None,
        ),
        (
            UPDATE.format("finished_at = '2026-01-02 10:00:00+00'", "dim_studies"),
            "test grain has not run since dim_studies was built",
        ),
        ("delete from audit.node_results where resource_type = 'test'", "no dbt test is on record"),
        ("drop table audit.node_results", "has no record of dbt's tests"),
    ],
)
def test_the_gate(home: Home, sql: str, said: str | None) -> None:
    first = publish(home)
    change(home, "delete from marts.fct_results where model_id = 'm1'")
    change(home, sql)
    if said is None:
        assert publish(home).changed
        return
    before = files(home)
    with pytest.raises(PublishRefused) as caught:
        publish(home)
    assert said in str(caught.value) and "`make run`" in str(caught.value)
    assert home.current.resolve() == first.path and files(home) == before


def test_an_emptied_mart_is_refused_unless_it_may_be_empty(home: Home) -> None:
    first = publish(home)
    change(home, "delete from marts.dim_studies")
    with pytest.raises(PublishRefused, match="dim_studies has no rows, 2 before"):
        publish(home)
    assert home.current.resolve() == first.path and len(list(home.snapshots.iterdir())) == 1
    assert publish(home, may_be_empty=["dim_studies"]).changed
    change(home, "delete from marts.fct_results where model_id = 'm1'")
    assert publish(home).changed  # it was empty before too
    change(home, "create table marts.fct_new (study_id varchar)")
    with pytest.raises(PublishRefused, match=r"fct_new has no rows\n"):
        publish(home)


def test_no_warehouse_and_no_marts(tmp_path: Path, home: Home) -> None:
    with pytest.raises(WarehouseMissing, match="make run"):
        publish(Home(tmp_path / "nothing"))
    assert current_snapshot(Home(tmp_path / "nothing")) is None
    change(home, "drop schema marts cascade")
    with pytest.raises(PublishRefused, match="has no marts"):
        publish(home)


def fail(*_: Any, **__: Any) -> None:
    raise OSError("No space left on device")


def copying_loses_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    real = publishing._copy

    def copy(connection: Any, table: Any, snapshot: Any) -> None:
        real(connection, table, snapshot)
        connection.execute(f"delete from candidate.marts.{table.name} where study_id = 'lab'")

    monkeypatch.setattr(publishing, "_copy", copy)


def wrong_id(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["a" * 12, "b" * 12])
    monkeypatch.setattr(publishing, "content_id", lambda *_, **__: next(ids))


def second_replace_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.replace, []

    def replace(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 2:
            fail()
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)


FAILURES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "copying": (lambda m: m.setattr(publishing, "_copy", fail), "could not be written .No space left"),
    "losing rows": (copying_loses_rows, "dim_studies has 1 rows, 1 with the stamp in its view, but 2 in the warehouse"),
    "audit": (wrong_id, "content id is b+, the warehouse's a+"),
    "chmod": (lambda m: m.setattr(os, "chmod", fail), "could not be written .No space left"),
    "flush": (lambda m: m.setattr(os, "fsync", fail), "could not be written .No space left"),
    "naming": (lambda m: m.setattr(os, "replace", fail), "could not be written .No space left"),
    "pointing": (second_replace_fails, "could not be written .No space left"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_leaves_the_old_snapshot(home: Home, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    first = publish(home)
    before = files(home)
    change(home, "delete from marts.fct_results where model_id = 'm1'")
    break_it, said = FAILURES[name]
    with monkeypatch.context() as patch:
        break_it(patch)
        with pytest.raises(UserError, match=said):
            publish(home)
    assert files(home) == before and home.current.resolve() == first.path
    assert ask(home.current, "select count(*) from fct_results") == [(1001,)]
    assert publish(home).changed
    assert ask(home.current, "select count(*) from fct_results") == [(1000,)]


def test_a_killed_publisher_leaves_the_old_snapshot(home: Home) -> None:
    first = publish(home)
    change(home, "delete from marts.fct_results where model_id = 'm1'")
    script = (
        "import os, signal, sys, pathlib\n"
        "from warehouse import publish\n"
        "from warehouse.paths import Home\n"
        "publish.os.chmod = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "publish.publish(Home(pathlib.Path(sys.argv[1])))\n"
    )
    repository = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", script, str(home.root)], cwd=repository, check=False)
    assert ended.returncode == -9
    (leftover,) = home.snapshots.glob(".*.tmp")
    assert home.current.resolve() == first.path
    assert publish(home).changed and leftover.exists()  # it may belong to a publisher at work
    os.utime(leftover, (0, 0))
    assert not publish(home).changed and not leftover.exists()


def test_snapshots_stay_in_order_after_a_clock_that_was_ahead(home: Home) -> None:
    """Ten of the future, then the present: the newest are those published last, and the pointer names the last."""
    first = publish(home)
    for year in range(2090, 2100):
        copy = home.snapshots / first.path.name.replace(first.path.name[:4], str(year))
        copy.write_bytes(first.path.read_bytes())
        os.utime(copy, (4e9, 4e9))
    names = []
    for number in range(4):
        change(home, f"update marts.fct_results set n = {number}")
        names.append(publish(home, keep=3, grace_seconds=0).path.name)
        assert home.current.resolve().name == names[-1] == max(path.name for path in home.snapshots.iterdir())
    assert names == sorted(names)
    assert sorted(path.name for path in home.snapshots.iterdir()) == names[-3:]


def test_a_clock_that_went_back_keeps_what_readers_just_looked_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(home)
    behind = time.time() - 300  # five minutes before the files' times
    monkeypatch.setattr(time, "time", lambda: behind)
    change(home, "update marts.fct_results set n = 1")
    publish(home, keep=1)
    assert first.path.exists(), "its successor is younger than the grace period"


def test_a_leftover_of_the_future_is_removed(home: Home) -> None:
    leftover = home.snapshots / ".x.duckdb.12345678.tmp"
    leftover.write_bytes(b"")
    os.utime(leftover, (4e9, 4e9))
    publish(home)
    assert not leftover.exists()

"""Home and connections: paths, waiting for the lock, and the message when a file cannot be opened."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pytest

from tests.support.readers import held_by_another
from warehouse.connection import (
    WarehouseBusy,
    WarehouseError,
    WarehouseMissing,
    attach_read_only,
    memory,
    read,
    write,
)
from warehouse.paths import REPOSITORY, Home


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "w.duckdb"
    with write(path) as connection:
        connection.execute("create table t as select 1 as a")
    return path


def test_home_follows_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARDBASE_HOME", str(tmp_path / "here"))
    home = Home.from_environment().ensure()
    assert home.warehouse == tmp_path / "here" / "warehouse.duckdb"
    assert home.current == tmp_path / "here" / "published" / "current.duckdb"
    folders = (home.parts, home.snapshots, home.reports, home.dagster_home, home.dbt_target, home.dbt_logs)
    assert all(folder.is_dir() for folder in folders)
    monkeypatch.chdir(tmp_path)
    assert Home.from_environment({"REWARDBASE_HOME": "near"}).root == tmp_path / "near"
    assert Home.from_environment({}).root == Home.from_environment({"REWARDBASE_HOME": " "}).root
    assert Home.from_environment({}).root == REPOSITORY / "var"
    assert (REPOSITORY / "warehouse" / "paths.py").is_file()


def test_reading_and_writing(file: Path) -> None:
    with read(file) as first, read(file) as second:
        assert first.execute("select a from t").fetchall() == second.execute("select a from t").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            first.execute("insert into t values (2)")
        settings = first.execute(
            "select distinct value from duckdb_settings() "
            "where name in ('autoinstall_known_extensions', 'autoload_known_extensions')"
        ).fetchall()
        assert settings == [("false",)]
    with write(file) as connection:
        connection.execute("insert into t values (2)")


def test_a_missing_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WarehouseMissing, match="make run"), read(tmp_path / "none.duckdb"):
        pass
    (tmp_path / "link.duckdb").symlink_to("gone.duckdb")
    said = r"a link to gone\.duckdb, which is gone"
    with pytest.raises(WarehouseMissing, match=said), read(tmp_path / "link.duckdb"):
        pass


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.duckdb").write_text("hello " * 2000)
    for opened in (read, write):
        said = "not a valid DuckDB database"
        with pytest.raises(WarehouseError, match=said) as caught, opened(tmp_path / "text.duckdb"):
            pass
        assert not isinstance(caught.value, WarehouseBusy | WarehouseMissing)


def test_an_open_waits_for_the_lock(file: Path) -> None:
    with held_by_another(file, 0.5):
        start = time.monotonic()
        with read(file, wait_seconds=20) as connection:
            assert connection.execute("select a from t").fetchall() == [(1,)]
        assert time.monotonic() - start > 0.2


def test_waiting_ends_and_names_the_holder(file: Path) -> None:
    with held_by_another(file, 60) as process:
        for opened in (read, write):
            said = f"held by process {process.pid} after 0.2 s"
            with pytest.raises(WarehouseBusy, match=said), opened(file, wait_seconds=0.2):
                pass
        connection = memory()
        with pytest.raises(WarehouseBusy, match=str(process.pid)):
            attach_read_only(connection, file, "w", wait_seconds=0.1)
        connection.close()


def test_a_clash_inside_this_process_is_reported(file: Path) -> None:
    said = pytest.raises(WarehouseBusy, match="this process itself")
    with write(file), said, read(file, wait_seconds=0.1):
        pass


def test_a_link_that_moves_on_during_the_open_is_followed(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, real = tmp_path / "current.duckdb", duckdb.connect
    link.symlink_to(file.name)

    def connect(path: str, **settings: bool) -> duckdb.DuckDBPyConnection:
        if file.exists():  # between looking at the link and opening the file, a publisher is at work
            file.rename(tmp_path / "newer.duckdb")
            link.unlink()
            link.symlink_to("newer.duckdb")
        return real(path, **settings)

    monkeypatch.setattr(duckdb, "connect", connect)
    with read(link) as connection:
        assert connection.execute("select a from t").fetchall() == [(1,)]


def test_a_reader_of_a_link_sees_where_it_points_now(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other.duckdb"
    with write(other) as connection:
        connection.execute("create table t as select 2 as a")
    link = tmp_path / "current.duckdb"
    link.symlink_to(file.name)
    with read(link) as before:
        link.unlink()
        link.symlink_to(other.name)
        with read(link) as after:
            assert before.execute("select a from t").fetchone() == (1,)
            assert after.execute("select a from t").fetchone() == (2,)

"""Landing: raw tables as the contracts say, partitions replaced as a whole, everything rebuilt from parts."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_train.parts import write_part
from warehouse import landing
from warehouse.connection import Connection, write
from warehouse.contracts import TABLES, Table, describe
from warehouse.contracts.studies import STUDIES
from warehouse.landing import create_raw_tables, land_newest, rebuild
from warehouse.part_files import LandingError, newest_parts, read_part


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with write(tmp_path / "w.duckdb") as opened:
        yield opened


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return tmp_path / "parts"


def study(parts: Path, study_id: str, title: str, run_id: str) -> Path:
    row = {"title": title, "synthetic": False, "source": "x", "use_loose_benchmarks": False, "answer_on": None}
    return write_part(parts, STUDIES, [row], study_id=study_id, run_id=run_id)


def titles(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute("select study_id, title, run_id from raw.studies order by all").fetchall()


def test_raw_tables_are_as_the_contracts_say(connection: Connection) -> None:
    assert create_raw_tables(connection) == [] == create_raw_tables(connection)
    for table in TABLES.values():
        found = connection.execute(
            "select column_name, is_nullable, comment from duckdb_columns() "
            "where schema_name = 'raw' and table_name = ? order by column_index",
            [table.name],
        ).fetchall()
        assert found == [(field.name, field.nullable, describe(field)) for field in table.schema]
        said = connection.execute("select comment from duckdb_tables() where table_name = ?", [table.name]).fetchone()
        assert said == (table.description,)
    with pytest.raises(duckdb.ConstraintException):
        connection.execute("insert into raw.studies (study_id) values ('s')")


def test_landing_replaces_the_partition_and_no_other(connection: Connection, parts: Path) -> None:
    create_raw_tables(connection)
    study(parts, "a", "A", "r1")
    study(parts, "b", "B", "r1")
    assert land_newest(connection, STUDIES, parts) == 2
    study(parts, "a", "A again", "r2")
    for _ in range(2):
        assert land_newest(connection, STUDIES, parts) == 2
        assert titles(connection) == [("a", "A again", "r2"), ("b", "B", "r1")]
    write_part(parts, STUDIES, [], study_id="b", run_id="r3")
    assert land_newest(connection, STUDIES, parts) == 1
    assert titles(connection) == [("a", "A again", "r2")]


def rewrite(part: Path, table: pa.Table) -> None:
    pq.write_table(table.replace_schema_metadata(pq.read_schema(part).metadata), part)


def bad_parts(part: Path) -> Iterator[tuple[Table, str]]:
    """Spoil the part in one way after another; yields the table to land in and the message expected."""
    good, metadata = pq.read_table(part, partitioning=None), pq.read_schema(part).metadata
    misplaced = part.parents[2] / "size_groups" / "a" / part.name
    misplaced.parent.mkdir(parents=True)
    shutil.copy(part, misplaced)
    yield TABLES["size_groups"], "is a part of studies, not of size_groups"
    rewrite(part, good.drop_columns(["title"]))
    yield STUDIES, "has no column title"
    rewrite(part, good.append_column("more", pa.array([1])))
    yield STUDIES, "has the unknown column more"
    rewrite(part, good.set_column(1, "title", pa.array([1])))
    yield STUDIES, "has int64 in column title, not string"
    nulls = pa.field("title", pa.string())
    rewrite(part, good.set_column(1, nulls, pa.array([None], pa.string())))
    yield STUDIES, "cannot be landed in studies"
    pq.write_table(good.replace_schema_metadata({**metadata, b"rewardbase.contract": b"old"}), part)
    yield STUDIES, "was written for another version of the contract"
    pq.write_table(good.replace_schema_metadata({}), part)
    yield STUDIES, "is no part of this project, whose metadata it lacks; move it out"
    part.write_bytes(b"PAR1 and no more")
    yield STUDIES, "cannot be read as Parquet"


def test_a_part_that_does_not_fit_is_refused_and_changes_nothing(connection: Connection, parts: Path) -> None:
    create_raw_tables(connection)
    part = study(parts, "a", "A", "r1")
    land_newest(connection, STUDIES, parts)
    spoilt = Path(shutil.copy(part, part.with_name("r2.parquet")))
    said = []
    for table, text in bad_parts(spoilt):
        with pytest.raises(LandingError) as caught:
            land_newest(connection, table, parts)
        assert text in str(caught.value) and spoilt.name in str(caught.value)
        remedies = ("remove it and run `make run`", "move it to its folder", "move it out")
        assert any(one in str(caught.value) for one in remedies)
        assert titles(connection) == [("a", "A", "r1")]
        said.append(text)
    assert len(said) == 8
    with pytest.raises(LandingError, match="cannot be read as Parquet"):
        read_part(spoilt.with_name("gone.parquet"))


def newest(parts: Path) -> dict[str, Path]:
    return {part.study_id: part.path for part in newest_parts(parts, STUDIES)}


def test_the_part_written_last_is_the_newest(parts: Path) -> None:
    assert newest(parts) == {}
    first = study(parts, "a", "one", "zz")
    second = study(parts, "a", "two", "aa")
    other = study(parts, "b", "B", "bb")
    assert newest(parts) == {"a": second, "b": other}
    assert study(parts, "a", "one", "zz") == first  # the same run again: its content counts once more
    assert newest(parts)["a"] == first
    (first.parent / ".cc.1234.tmp").write_bytes(b"half a part")
    assert newest(parts)["a"] == first
    assert read_part(first).run_id == "zz" and read_part(first).n_rows == 1


def test_rebuild_is_the_newest_parts_and_nothing_else(connection: Connection, parts: Path) -> None:
    for study_id in ("a", "b"):
        study(parts, study_id, "old", "r1")
        study(parts, study_id, "new", "r2")
    create_raw_tables(connection)
    gone = study(parts, "c", "gone", "r1")
    land_newest(connection, STUDIES, parts)
    gone.unlink()
    wanted = [("a", "new", "r2"), ("b", "new", "r2")]
    for _ in range(2):
        assert rebuild(connection, parts) == dict.fromkeys(TABLES, 0) | {"studies": 2}
        assert titles(connection) == wanted
    connection.execute("drop schema raw cascade")
    rebuild(connection, parts)
    assert titles(connection) == wanted


def test_rebuild_is_all_or_nothing(connection: Connection, parts: Path) -> None:
    study(parts, "a", "A", "r1")
    rebuild(connection, parts)
    study(parts, "a", "A2", "r2")
    study(parts, "b", "B", "r1").write_bytes(b"damaged")
    with pytest.raises(LandingError, match=r"r1\.parquet cannot be read"):
        rebuild(connection, parts)
    assert titles(connection) == [("a", "A", "r1")]


def test_a_changed_contract_drops_the_table_and_takes_the_parts_that_fit(
    connection: Connection, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study(parts, "a", "A", "r1")
    rebuild(connection, parts)
    connection.execute("alter table raw.studies add column more integer")  # made by an older version
    assert create_raw_tables(connection, parts) == ["studies"]
    assert titles(connection) == [("a", "A", "r1")]

    schema = STUDIES.schema.append(pa.field("note", pa.string(), True, {"description": "A remark."}))
    newer = dataclasses.replace(STUDIES, schema=schema)
    monkeypatch.setitem(landing.TABLES, "studies", newer)
    assert create_raw_tables(connection, parts) == ["studies"]
    assert titles(connection) == []  # its only part was written for the old contract
    with pytest.raises(LandingError, match="has no column note"):
        rebuild(connection, parts)
    row = {
        "title": "A",
        "synthetic": False,
        "source": "x",
        "use_loose_benchmarks": False,
        "answer_on": None,
        "note": None,
    }
    write_part(parts, newer, [row], study_id="a", run_id="r2")
    land_newest(connection, newer, parts)
    assert titles(connection) == [("a", "A", "r2")]

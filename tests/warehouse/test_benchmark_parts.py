"""Benchmark results have several writers: each replaces its own rows alone, and goes when the study drops it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from models_train.parts import write_part
from warehouse.connection import Connection, write
from warehouse.contracts import TABLES
from warehouse.contracts.studies import IMPORTS, STUDY_FILE, run_of
from warehouse.landing import create_raw_tables, land_newest, rebuild
from warehouse.part_files import restore_writers, retire_writers

RESULTS = TABLES["benchmark_results"]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return tmp_path / "parts"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with write(tmp_path / "w.duckdb") as opened:
        create_raw_tables(opened)
        yield opened


def put(parts: Path, written_by: str, run_id: str, values: dict[str, float], benchmark: str = "b") -> Path:
    rows: list[dict[str, Any]] = [
        {
            "written_by": written_by, "model_id": model_id, "benchmark": benchmark, "metric": "acc_pct", "value": value,
            "standard_error": None, "n_examples": None, "shots": "0", "match": "exact", "source": written_by,
        }
        for model_id, value in values.items()
    ]  # fmt: skip
    return write_part(parts, RESULTS, rows, study_id="s", run_id=run_id)


def landed(connection: Connection, parts: Path) -> list[tuple[Any, ...]]:
    land_newest(connection, RESULTS, parts)
    return connection.execute("select written_by, model_id, value from raw.benchmark_results order by all").fetchall()


def test_each_writer_replaces_its_own_rows(connection: Connection, parts: Path) -> None:
    put(parts, STUDY_FILE, "f1", {"c": 1.0})
    put(parts, run_of("a"), "a1", {"a": 2.0})
    put(parts, IMPORTS, "i1", {"a": 3.0, "b": 4.0})
    assert landed(connection, parts) == [
        ("imports", "a", 3.0),
        ("imports", "b", 4.0),
        ("run of a", "a", 2.0),
        ("study file", "c", 1.0),
    ]
    # Imported files of b are gone, a was run again with other settings.
    put(parts, IMPORTS, "i2", {"a": 3.5})
    put(parts, run_of("a"), "a2", {"a": 2.5})
    expected = [("imports", "a", 3.5), ("run of a", "a", 2.5), ("study file", "c", 1.0)]
    assert landed(connection, parts) == expected
    rebuild(connection, parts)
    assert landed(connection, parts) == expected


def test_writers_that_a_study_drops_go_and_come_back(connection: Connection, parts: Path) -> None:
    put(parts, STUDY_FILE, "f1", {"c": 1.0})
    put(parts, run_of("a"), "a1", {"a": 2.0})
    put(parts, IMPORTS, "i1", {"a": 3.0})
    assert retire_writers(parts, "s", [STUDY_FILE, run_of("b")]) == [
        "benchmark_results/s/a1",
        "benchmark_results/s/i1",
    ]
    assert landed(connection, parts) == [("study file", "c", 1.0)]
    assert restore_writers(parts, "s", [run_of("a")]) == ["benchmark_results/s/a1"]
    assert landed(connection, parts) == [("run of a", "a", 2.0), ("study file", "c", 1.0)]


def test_parts_from_before_there_were_several_writers_are_set_aside(connection: Connection, parts: Path) -> None:
    """A home of an earlier version: its part is of the whole study and would stay beside the new ones."""
    old = put(parts, STUDY_FILE, "old", {"c": 1.0})
    table = pq.read_table(old, partitioning=None).drop_columns(["written_by", "standard_error", "n_examples"])
    metadata = {**(table.schema.metadata or {}), b"rewardbase.partition": json.dumps({"study_id": "s"}).encode()}
    pq.write_table(table.replace_schema_metadata(metadata | {b"rewardbase.contract": b"old"}), old)
    put(parts, STUDY_FILE, "new", {"c": 2.0})
    assert retire_writers(parts, "s", [STUDY_FILE]) == ["benchmark_results/s/old"]
    assert landed(connection, parts) == [("study file", "c", 2.0)]

"""Databases for the report tests: an ordinary study, one with hostile names, one with empty marts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from tests.support import marts_database
from tests.support.marts_database import HOSTILE


@pytest.fixture(scope="session")
def builder() -> ModuleType:
    return marts_database


@pytest.fixture(scope="session")
def ordinary_file(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return builder.write_marts(tmp_path_factory.mktemp("marts") / "ordinary.duckdb", [builder.small_study()])


@pytest.fixture
def ordinary(ordinary_file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(ordinary_file), read_only=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def hostile_file(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = builder.small_study(f"../../evil{HOSTILE}", suffix=HOSTILE, per_group=3)
    return builder.write_marts(tmp_path_factory.mktemp("marts") / "hostile.duckdb", [study])


@pytest.fixture
def empty(builder: ModuleType, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """All marts are there; only dim_studies has a row."""
    path = builder.write_marts(tmp_path / "empty.duckdb", [builder.small_study()])
    with duckdb.connect(str(path)) as connection:
        for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall():
            if name != "dim_studies":
                connection.execute(f"delete from marts.{name}")
        yield connection

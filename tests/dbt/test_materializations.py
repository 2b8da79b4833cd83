"""The project's views and tables in a dbt project of two models: what a failed build leaves, and a change of kind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.support.programs import REPOSITORY

pytestmark = pytest.mark.slow

TABLE = "{{ config(materialized='table') }} "
VIEW = "{{ config(materialized='view') }} "
PYTHON = """def model(dbt, session):
    dbt.config(materialized="table")
    return session.sql("{query}")
"""
YML = "models: [{name: one, description: One., columns: [{name: x, description: A number.}]}, {name: two}]\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("models", "macros"):
        (tmp_path / name).mkdir()
    shutil.copy(REPOSITORY / "dbt" / "macros" / "materializations.sql", tmp_path / "macros")
    (tmp_path / "dbt_project.yml").write_text(
        "name: small\nprofile: small\nmodels: {+persist_docs: {relation: true, columns: true}}\n"
        "flags: {send_anonymous_usage_stats: false}\n"
    )
    (tmp_path / "profiles.yml").write_text(
        f"small: {{target: it, outputs: {{it: {{type: duckdb, path: {tmp_path / 'it.duckdb'}}}}}}}\n"
    )
    (tmp_path / "models" / "all.yml").write_text(YML)
    return tmp_path


def build(project: Path, one: str, two: str) -> int:
    """Write both models and run them; returns dbt's exit status."""
    (project / "models" / "one.sql").write_text(one)
    (project / "models" / "two.py").write_text(PYTHON.format(query=two))
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "run"]
    return subprocess.run(command, cwd=project, env=os.environ, timeout=300, check=False).returncode


def ask(project: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(project / "it.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_a_failed_build_leaves_what_was_there_and_a_relation_changes_its_kind(project: Path) -> None:
    assert build(project, TABLE + "select 1 as x", "select 2 as x") == 0
    assert build(project, TABLE + "select error('no') as x", "select error('no') as x") == 1
    assert ask(project, "select (from one), (from two)") == [(1, 2)]
    # A comment on a column that is not there fails after the table was built.
    (project / "models" / "all.yml").write_text(
        YML.replace("{name: two", "{name: two, columns: [{name: y, description: Y}]")
    )
    assert build(project, TABLE + "select 3 as z", "select 4 as x") == 1
    assert ask(project, "select (from one), (from two)") == [(1, 2)]

    (project / "models" / "all.yml").write_text(YML)
    for kind, found in ((VIEW, "VIEW"), (TABLE, "BASE TABLE")):
        assert build(project, kind + "select 5 as x", "select 6 as x") == 0
        assert ask(project, "select (from one), (from two)") == [(5, 6)]
        assert ask(project, "select table_name, table_type from information_schema.tables order by all") == [
            ("one", found),
            ("two", "BASE TABLE"),
        ]
        assert ask(project, "select comment from duckdb_columns() where table_name = 'one'") == [("A number.",)]

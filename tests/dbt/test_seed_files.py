"""Seed files as dbt loads them: the same cells that the check of seeds has read."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from warehouse.paths import Home

Dbt = Callable[..., subprocess.CompletedProcess[str]]
REPOSITORY = Path(__file__).resolve().parents[2]
# A guess would take the apostrophes for quotes: no cell of the file needs the true ones.
CELLS = [["'HumanEval'", "1e2", "''"], ["x'y", "", "; | \\"], ["NULL", "0.5", ""]]

pytestmark = pytest.mark.slow


def test_apostrophes_marks_and_line_ends_change_no_cell(tmp_path: Path) -> None:
    project = tmp_path / "somebody's folder"
    (project / "seeds").mkdir(parents=True)
    (project / "dbt_project.yml").write_text(
        f"{{name: small, profile: small, macro-paths: ['{REPOSITORY / 'dbt' / 'macros'}'], on-run-end: [],"
        " seeds: {+column_types: {name: varchar, remark: varchar}}}"
    )
    (project / "profiles.yml").write_text("small: {target: a, outputs: {a: {type: duckdb, path: made.duckdb}}}")
    with (project / "seeds" / "given.csv").open("w", encoding="utf-8", newline="") as file:
        file.write("\ufeff")  # a byte-order mark
        csv.writer(file).writerows([["name", "value", "remark"], *CELLS])
    command = [sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "seed"]
    environment = os.environ | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(project / "made.duckdb"), read_only=True) as connection:
        rows = connection.execute("select name, value::varchar, remark from given").fetchall()
    assert [list(row) for row in rows] == [
        ["'HumanEval'", "100.0", "''"],
        ["x'y", None, "; | \\"],
        ["NULL", "0.5", None],
    ]


def test_a_seed_replaces_the_table_of_an_earlier_version(run_dbt: Dbt, tmp_path: Path) -> None:
    """That one had other columns: the table is made again."""
    home = Home(tmp_path / "home").ensure()
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute("create schema seeds; create table seeds.rewardbench_subsets as select 'x' as category")
    done = run_dbt(home, "seed", "--select", "rewardbench_subsets")
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        assert connection.execute("select count(*), sum(n_examples) from seeds.rewardbench_subsets").fetchone() == (
            23,
            2985,
        )

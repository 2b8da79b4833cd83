"""The dbt assets: seeds that were edited after the check; what is said where dbt cannot begin."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest

from dagster_project.environment import SEEDS
from dagster_project.lib import dbt_component
from models_train.errors import UserError
from models_train.files import sha256
from tests.support.readers import held_by_another
from warehouse.paths import Home


def test_a_seed_edited_after_its_check_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(SEEDS, tmp_path / "seeds")
    monkeypatch.setattr(dbt_component, "SEEDS", tmp_path / "seeds")
    with duckdb.connect() as warehouse:
        warehouse.execute(
            "create schema raw; create table raw.study_seeds (study_id varchar, seed varchar, sha256 varchar)"
        )
        for seed in (tmp_path / "seeds").glob("*.csv"):
            warehouse.execute("insert into raw.study_seeds values ('published', ?, ?)", [seed.stem, sha256(seed)])
        edited = tmp_path / "seeds" / "table_3_models.csv"
        edited.write_text(edited.read_text().replace("3.82", "3.83"))
        dbt_component.refuse_edited_seeds(warehouse, {"table_4_regression", "dim_base_models"})
        with pytest.raises(UserError, match=r"table_3_models\.csv was edited after this run had checked it"):
            dbt_component.refuse_edited_seeds(warehouse, {"table_3_models", "table_4_regression"})


SAID = """The dbt CLI process with command

`python -m dbt.cli.main build --select dim_base_models dim_benchmarks`

failed with exit code `2`. Check the stdout in the Dagster compute logs for the full information about the error.

Errors parsed from dbt logs:

Encountered an error:
Runtime Error
  {}
"""


def test_a_warehouse_that_a_program_holds_is_named_with_the_program(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with held_by_another(home.warehouse, 60) as process, pytest.raises(duckdb.Error) as error:
        duckdb.connect(str(home.warehouse))
    assert dbt_component.own_error(SAID.format(error.value), home) == (
        f"{home.warehouse} is still held by process {process.pid}; wait for it to end or close that program, "
        "then run again (who only reads opens published/current.duckdb)"
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("IO Error: Could not write file: No space left on device", r"warehouse\.duckdb: the disk at /.* is full: "),
        ("Env var required but not provided: 'A'", r"dbt: Encountered an error:\nRuntime Error\n  Env var required"),
    ],
)
def test_what_keeps_dbt_from_beginning_is_told_without_its_command(tmp_path: Path, error: str, told: str) -> None:
    said = dbt_component.own_error(SAID.format(error), Home(tmp_path))
    assert re.search(told, said) and "--select" not in said

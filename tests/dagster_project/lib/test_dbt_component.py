"""The dbt assets: seeds that were edited after the check."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest

from dagster_project.environment import SEEDS
from dagster_project.lib import dbt_component
from models_train.errors import UserError
from models_train.files import sha256


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

"""Published marts in Python: frames as in the database, the recommendation as `make recommend` prints it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from rich.console import Console

import warehouse
from models_train.errors import UserError
from tests.support import marts_database
from tests.support.race_database import write_race_marts
from warehouse.cli.recommend import print_recommendation
from warehouse.frames import Published


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    monkeypatch.setenv("REWARDBASE_HOME", str(tmp_path))
    (tmp_path / "published").mkdir()
    studies = [marts_database.small_study(), marts_database.small_study("other", suffix="x", seed=3)]
    path = marts_database.write_marts(tmp_path / "published" / "current.duckdb", studies)
    with duckdb.connect(str(path)) as connection:
        connection.execute("comment on column marts.fct_reward_model_results.score is 'Mean of the categories.'")
    return warehouse.published()


def test_a_frame_has_the_rows_and_types_of_its_mart(published: Published, tmp_path: Path) -> None:
    frame = published.frame("fct_reward_model_results")
    with duckdb.connect(str(tmp_path / "published" / "current.duckdb"), read_only=True) as connection:
        rows = connection.execute("select * from marts.fct_reward_model_results").fetchall()
        assert sorted(published.names) == sorted(
            name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()
        )
    assert frame.rows() == rows and frame.schema["score"] == pl.Float64
    columns = published.columns("fct_reward_model_results")
    assert columns["column"].to_list() == frame.columns
    assert columns.filter(column="score").row(0) == ("score", "DOUBLE", "Mean of the categories.")


def test_races_are_those_of_the_mart(published: Published, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"published: no race of this study is published; run `make pick"):
        published.race("published")
    with duckdb.connect(str(tmp_path / "published" / "current.duckdb")) as connection:
        write_race_marts(connection, "published", with_census=True)
    found = published.race("published", "bradley_terry")
    assert found["method"].to_list() == ["race", "full_census", "size_alone"]
    assert found["winner"][0] == "one-8B" and found["indifference_set"][0].to_list() == ["one-8B", "two-7B"]


def test_recommendations_are_those_of_the_command(published: Published, tmp_path: Path) -> None:
    asked = {"max_params": 7.5, "objective": "regression"}
    found = published.recommend(**asked, study="published", top=3)
    assert found["rank"].to_list() == [1, 2, 3] and set(found["study_id"]) == {"published"}
    console = Console(width=200, no_color=True)
    path = str(tmp_path / "published" / "current.duckdb")
    with duckdb.connect(path, read_only=True) as connection, console.capture() as capture:
        print_recommendation(connection, console, **asked, study_id="published", top=3)
    said = " ".join(capture.get().split())
    for row in found.iter_rows(named=True):
        assert row["reason"] in said and row["model_id"] in said
    every = published.recommend()
    assert set(every.select("study_id", "objective").unique().rows()) == {
        (study, objective) for study in ("published", "other") for objective in ("regression", "bradley_terry")
    }


def test_what_is_not_there_is_named(published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no mart 'fct_reward_model_result'; did you mean 'fct_reward_model_results'"):
        published.frame("fct_reward_model_result")
    with pytest.raises(UserError, match="There is no mart 'nothing alike'; there are dim_"):
        published.columns("nothing alike")
    with pytest.raises(UserError, match="no objective 'fun'"):
        published.recommend(objective="fun")
    with pytest.raises(UserError, match="leave out policy and use"):
        published.recommend(policy="p", memory=24)
    with pytest.raises(UserError, match="no recommendations for policies yet"):
        published.recommend(policy="p")
    monkeypatch.setenv("REWARDBASE_HOME", str(tmp_path / "new"))
    with pytest.raises(UserError, match="make run"):
        _ = published.names


def test_reading_loads_no_torch_and_no_dagster(published: Published) -> None:
    code = "import sys, warehouse; warehouse.published().recommend(max_params=8)\n"
    code += "print([name for name in ('torch', 'dagster', 'dbt', 'altair') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

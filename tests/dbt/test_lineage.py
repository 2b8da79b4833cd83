"""The walk from a model to its ancestors ends, whatever the table of models holds; every mart has a reader."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import jinja2
import pytest
import yaml

MODELS = Path(__file__).resolve().parents[2] / "dbt" / "models"
SQL = MODELS / "intermediate" / "int_base_models.sql"


def base_models(parents: dict[str, str | None]) -> dict[str, str | None]:
    """Base model by model, as int_base_models finds it for a study with these parents; interrupted after 20 s."""
    query = jinja2.Template(SQL.read_text()).render(ref=lambda name: name)
    with duckdb.connect() as connection:
        connection.execute(
            """
            create table stg_base_models (study_id text, model_id text, hub_id text, revision text, publisher text,
                family text, params_b double, tokens_t double, stage text, parent_model_id text, is_compared bool,
                is_candidate bool, licence text, downloads bigint);
            create table stg_published_models (study_id text, model_id text, publisher text, params_b double,
                tokens_t double, release_month text, downloads bigint, likes bigint);
            create table stg_size_groups (study_id text, size_group text, size_group_position int,
                params_b_from double, params_b_below double, default_model_id text);
            """
        )
        connection.executemany(
            "insert into stg_base_models by name select 's' as study_id, ? as model_id, ? as parent_model_id",
            list(parents.items()),
        )
        timer = threading.Timer(20, connection.interrupt)
        timer.start()
        try:
            return dict(connection.execute(f"select model_id, base_model_id from ({query})").fetchall())
        finally:
            timer.cancel()


def test_a_long_line_of_descent_is_walked_to_its_end() -> None:
    names = [f"m{number}" for number in range(50)]
    found = base_models(dict(zip(names, [None, *names], strict=False)))
    assert found == {"m0": None} | dict.fromkeys(names[1:], "m0")


@pytest.mark.parametrize("parents", [{"a": "a"}, {"a": "b", "b": "c", "c": "a"}])
def test_a_circle_of_parents_ends(parents: dict[str, str | None]) -> None:
    assert set(base_models(parents)) == set(parents)


def test_every_mart_is_read_by_an_exposure() -> None:
    """Lineage ends where people are: the report, the commands, the questions of the README, the performance model."""
    listed = yaml.safe_load((MODELS / "exposures.yml").read_text())["exposures"]
    read = {reference for exposure in listed for reference in exposure["depends_on"]}
    assert {f"ref('{path.stem}')" for path in (MODELS / "marts").glob("*.sql")} <= read


def test_every_column_of_a_mart_is_described() -> None:
    """dbt holds the columns of a mart to its yml (contract) and puts the descriptions on the table."""
    for path in sorted((MODELS / "marts").glob("*.yml")):
        for mart in yaml.safe_load(path.read_text()).get("models", []):
            missing = [column["name"] for column in mart["columns"] if not column.get("description")]
            assert mart["description"] and missing == [], mart["name"]

"""Marts of races, from the parts of a made race whose census is known, and of one without; built by dbt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from models_train.race.replay import regret
from models_train.race.rules import SCORED
from tests.dbt.conftest import dbt
from tests.support.race_parts import made_race, write_race
from warehouse import landing
from warehouse.connection import write
from warehouse.paths import Home

pytestmark = pytest.mark.slow


def build(folder: Path) -> None:
    home = Home(folder).ensure()
    write_race(home.parts, "known", made_race(with_census=True))
    write_race(home.parts, "alone", made_race())
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = dbt(home, "build", "--select", "+fct_race_rungs", "+fct_race_answers")
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def marts(made_once: Callable[..., Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(Home(made_once("race-marts", build)).warehouse), read_only=True) as connection:
        yield connection


def test_each_look_has_what_was_decided_there(marts: duckdb.DuckDBPyConnection) -> None:
    made = made_race(with_census=True)
    rows = marts.execute("select * from marts.fct_race_rungs where study_id = 'known' order by place").pl().to_dicts()
    assert [row["accuracy"] for row in rows] == [100 * look["accuracy"] for look in made.looks]
    assert [row["is_of_race"] for row in rows] == [one["is_of_race"] for one in made.tables["race_entries"]]
    in_race = [row for row in rows if row["is_of_race"]]
    for decision in made.race.decisions:
        if decision.decision == "drop":
            own = [row for row in in_race if row["model_id"] == decision.model_id]
            last = max(own, key=lambda row: (row["n_examples"], row["is_best_rate"]))
            assert (last["decision"], last["reason"]) == ("drop", decision.reason)
            assert (last["against"], last["high_points"]) == (decision.against, decision.upper)
        if decision.decision == "drop_rate":
            own = [
                row
                for row in in_race
                if (row["model_id"], row["learning_rate"]) == (decision.model_id, decision.learning_rate)
            ]
            last = max(own, key=lambda row: row["n_examples"])
            assert (last["decision"], last["reason"]) == ("drop_rate", decision.reason)
    dropped = {one.model_id for one in made.race.decisions if one.decision == "drop"}
    assert dropped == {row["model_id"] for row in rows if row["decision"] == "drop"}
    assert all(row["decision"] == "census" for row in rows if not row["is_of_race"])
    for row in in_race:
        same = [one for one in in_race if (one["model_id"], one["rung"]) == (row["model_id"], row["rung"])]
        assert row["is_best_rate"] == (row is min(same, key=lambda one: (-one["accuracy"], one["learning_rate"])))


def test_answers_state_regret_where_the_census_is_known(marts: duckdb.DuckDBPyConnection) -> None:
    made = made_race(with_census=True)
    found = marts.execute("select * from marts.fct_race_answers where study_id = 'known'").pl().to_dicts()
    by_method = {row["method"]: row for row in found}
    assert {"race", "full_census", "successive_halving", "size_alone"} <= set(by_method)
    for row in found:
        assert row["is_census_known"]
        assert row["regret_points"] == pytest.approx(regret(made.census, row["winner"]))
    assert by_method["full_census"]["regret_points"] == 0
    race, answer = by_method["race"], made.race.answer
    assert race["winner"] == answer.winner
    assert race["indifference_set"] == list(answer.indifference_set)
    assert race["n_tokens"] == pytest.approx(answer.trained_tokens + SCORED * answer.scored_tokens)
    assert race["share_of_census"] == pytest.approx(answer.tokens / answer.census_tokens)
    alone = marts.execute("select * from marts.fct_race_answers where study_id = 'alone'").pl().to_dicts()
    assert [row["method"] for row in alone] == ["race"]
    assert (alone[0]["is_census_known"], alone[0]["regret_points"]) == (False, None)

"""The reader's question: every choice is the recommendation of its limits, and its SQL gives the same ranking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from tests.support import marts_database
from tests.support.teacher_frames import TRUTH, gains, recommendations_mart, row, tables
from warehouse.reports.choices import MEMORIES_GIB, Choice, choices
from warehouse.reports.recommended import Limits, recommendations
from warehouse.training_memory import way_within

STUDY = "published"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A study with recommendations, of base models and for policies."""
    made = tables(gains("p-llama") + [row("best_of_n", base, value, "r-llama", 0.02) for base, value in TRUTH.items()])
    policies = recommendations_mart(made).with_columns(
        pl.lit(STUDY).alias("study_id"), pl.col("policy_id").str.replace("p-llama", "p'llama", literal=True)
    )
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    with duckdb.connect(str(path)) as opened:
        opened.register("found", policies.to_arrow())
        opened.execute("create table marts.fct_teacher_recommendations as from found")
        opened.execute("use marts")
        yield opened


@pytest.fixture
def found(connection: duckdb.DuckDBPyConnection) -> list[Choice]:
    return choices(marts_database.study_of(connection))


def limits_of(choice: Choice) -> Limits:
    if choice.limit.endswith("GiB"):
        return Limits(memory_gib=float(choice.limit.removesuffix("GiB")))
    return Limits() if choice.limit == "any" else Limits(float(choice.limit.removesuffix("B")))


def test_choices_by_score_are_the_recommendations_of_their_limits(
    connection: duckdb.DuckDBPyConnection, found: list[Choice]
) -> None:
    by_score = [choice for choice in found if choice.purpose == "score"]
    assert {choice.objective for choice in by_score} == {"regression", "bradley_terry"}
    assert {"any", "3B", "8B", "24GiB"} <= {choice.limit for choice in by_score}
    for choice in by_score:
        ((_, (one,)),) = recommendations(connection, limits_of(choice), choice.objective, STUDY, 3)
        assert [place.name for place in choice.places] == [place["model_id"] for place in one.rows]
        assert choice.pick == one.rows[0]["model_id"] and choice.pick in choice.text
        assert f"{one.rows[0]['expected_score']:.1f} (90 % interval" in choice.figure
        assert f"{choice.limit_label}" in choice.question or choice.limit == "any"


def test_the_sql_of_a_choice_gives_its_ranking(connection: duckdb.DuckDBPyConnection, found: list[Choice]) -> None:
    assert {choice.purpose.partition(":")[0] for choice in found} >= {"score", "policy"}
    for choice in found:
        asked = connection.execute(choice.sql)
        names = [column[0] for column in asked.description]
        rows = asked.fetchall()
        picked = [one[names.index("base_model" if "base_model" in names else names[0])] for one in rows]
        if choice.purpose == "score":
            assert picked[: len(choice.places)] == [place.name for place in choice.places]
        else:
            assert picked == [choice.pick or None], choice.sql


def test_a_memory_that_admits_no_further_model_is_offered_once(found: list[Choice]) -> None:
    offered = [one for one in found if one.objective == "regression" and one.limit.endswith("GiB")]
    assert 0 < len(offered) <= len(MEMORIES_GIB)
    assert len({one.sql for one in offered}) == len(offered)
    for one in offered:
        assert way_within(8.3, "", limits_of(one).memory_gib or 0) or "model-8B-3" not in one.sql


def test_an_abstention_is_a_choice_with_its_reason(found: list[Choice]) -> None:
    policies = [choice for choice in found if choice.purpose.startswith("policy:")]
    assert any("p'llama" in choice.purpose for choice in policies)
    for choice in policies:
        assert choice.why and (choice.pick or "No recommendation" in choice.text)
    assert len({(one.purpose, one.objective, one.limit) for one in found}) == len(found), "each address is one answer"

"""The recommendation in a terminal: stored limits as stored, other limits ranked again, errors for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from rich.console import Console

from models_train.errors import UserError
from tests.support import marts_database
from warehouse.cli.recommend import billions, gibibytes, main, print_recommendation
from warehouse.contracts.sizes import SIZE_RULE, is_within
from warehouse.reports import queries
from warehouse.reports.recommended import Limits, recommendation, with_size
from warehouse.training_memory import way_within

STUDY = "published"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    with duckdb.connect(str(path)) as opened:
        yield opened


def recommended(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    return with_size(queries.recommendations(connection, STUDY), queries.base_models(connection, STUDY))


@pytest.fixture
def answered(connection: duckdb.DuckDBPyConnection) -> Callable[..., str]:
    """The printed text with every run of blanks as one, since lines break where names are long."""
    return lambda **asked: " ".join(printed(connection, **asked).replace("\u00a0", " ").split())


def printed(connection: duckdb.DuckDBPyConnection, **asked: Any) -> str:
    console = Console(width=100, no_color=True, force_terminal=False, record=True, quiet=False)
    with console.capture() as capture:
        print_recommendation(connection, console, **({"max_params": None, "objective": None, "study_id": None} | asked))
    return capture.get()


def ranked(connection: duckdb.DuckDBPyConnection, limit: float) -> list[tuple[str, float]]:
    """Model and score, best first, from the results and the sizes."""
    rows = connection.execute(
        """
        select model_id, score, params_b from marts.fct_reward_model_results
        inner join marts.dim_base_models using (study_id, model_id)
        where objective = 'regression' order by score desc, model_id
        """
    ).fetchall()
    return [(model, score) for model, score, params_b in rows if is_within(model, params_b, limit)]


def test_a_stored_limit_is_printed_as_it_is_stored(connection, answered):
    text = answered(max_params=8, objective="regression", top=3)
    best = ranked(connection, 8)
    assert "of at most 8 billion parameters" in text
    for rank, (model, score) in enumerate(best[:3], start=1):
        assert (f" {rank} {model} " in text or f" = {model} " in text) and f"{score:.1f}" in text
        assert f"Rank {rank} of {len(best)} with {model}." in text
    assert "25 %" in text and "13 %" in text and "No chance of being best" not in text
    assert f"({len(best) - 3} more within the limit)" in text
    assert best[3][0] not in text and "Bradley-Terry" not in text


@pytest.mark.parametrize("limit", [1.85, 4.2, 7.5, 100.0])
def test_any_other_limit_is_ranked_again_without_a_probability(connection, answered, limit: float):
    best = ranked(connection, limit)
    frame = recommended(connection).filter(objective="regression")
    found = recommendation(frame, queries.base_models(connection, STUDY), Limits(limit), top=50)
    assert [(row["model_id"], row["expected_score"]) for row in found.rows] == best
    assert [row["rank"] for row in found.rows] == list(range(1, len(best) + 1))
    assert {row["probability_best"] for row in found.rows} == {None}
    assert not found.is_stored
    text = answered(max_params=limit, objective="regression", top=2)
    assert f"the highest of {len(best)} models of at most {limit:g} B parameters" in text
    assert "none" in text and "computed for the stored size limits only (3, 8 and none)" in text


def test_a_reason_of_its_own_says_measured_predicted_gain_and_distance(connection):
    frame = recommended(connection).filter(objective="regression")
    found = recommendation(frame, queries.base_models(connection, STUDY), Limits(7.0), top=50)
    first = found.rows[0]["expected_score"]
    for row in found.rows:
        starts = "No reward model was trained on it; predicted " if row["basis"] == "predicted" else "Measured "
        assert row["reason"].startswith(starts)
        if row["rank"] > 1:
            assert f"{first - row['expected_score']:.1f} points behind {found.rows[0]['model_id']}" in row["reason"]
        is_default = row["model_id"].endswith("-0")
        assert ("it is the default of its size group" in row["reason"]) == is_default
    assert {row["basis"] for row in found.rows} == {"observed", "predicted"}


def test_without_a_limit_every_model_and_every_abstention_is_listed(connection, answered):
    text = answered(top=1)
    assert "Regression" in text and "Bradley-Terry" in text
    assert text.count("(17 more within the limit)") == 2
    assert "No recommendation for candidatemodel-2B-0: its number of parameters is not knownmodel-2B-0." in text
    assert "candidatemodel" not in answered(max_params=7.5), "its size is unknown, so it is under no limit"


def test_the_rule_of_a_limit_is_stated(answered, capsys):
    assert f"A size limit is {SIZE_RULE}." in answered(max_params=8)
    with pytest.raises(SystemExit):
        main(["--help"])
    said = " ".join(capsys.readouterr().out.replace("-\n", "-").split())
    assert f"billions of parameters, {SIZE_RULE} (default: any)" in said
    assert "memory of the device to train on, in GiB, by an estimate" in said


def test_sizes_and_memory_are_read_as_people_write_them(capsys):
    assert [billions(text) for text in ("8", "8B", " 1.5b ", "360M", "-8")] == [8, 8, 1.5, pytest.approx(0.36), -8]
    assert [gibibytes(text) for text in ("24", "24GB", "80 GiB", "16g")] == [24, 24, 80, 16]
    for option, text, said in (("--max-params", "eight", "such as 8, 8B or 360M"), ("--memory", "24TB", "such as 24")):
        with pytest.raises(SystemExit):
            main([option, text])
        assert f"argument {option}: {text!r} is not" in (error := capsys.readouterr().err) and said in error


def test_a_limit_by_memory_lists_what_can_be_trained_there(connection, answered):
    frame = recommended(connection).filter(objective="regression")
    models = queries.base_models(connection, STUDY)
    for memory in (16, 48, 80):
        found = recommendation(frame, models, Limits(None, memory), top=50)
        fitting = {row["model_id"] for row in frame.iter_rows(named=True) if way_within(row["params_b"], "", memory)}
        measured = set(frame.filter(pl.col("rank").is_not_null())["model_id"])
        assert {row["model_id"] for row in found.rows} == fitting & measured
        assert {row["probability_best"] for row in found.rows} == {None}
    text = answered(memory=48, objective="regression", top=1)
    assert "Which base model trainable in 48 GiB should I train" in text and "Memory is an estimate" in text
    assert re.search(r"models trainable in 48 GiB.* Training: .*, about \d+\.\d GiB", text)
    both = recommendation(frame, models, Limits(3, 80), top=50)
    assert 0 < len(both.rows) < len(recommendation(frame, models, Limits(None, 80), top=50).rows)
    with pytest.raises(UserError, match=r"No model trainable in 4 GiB can be recommended: .* needs about \d"):
        answered(memory=4)


def test_lines_fit_a_terminal(connection):
    for asked in ({"max_params": 8}, {"max_params": 7.5}, {}):
        lines = printed(connection, **asked).splitlines()
        assert len(lines) > 20 and max(len(line) for line in lines) <= 100


@pytest.mark.parametrize("name", ["regression", "Regression", "REGRESSION "])
def test_an_objective_is_understood_in_any_case(answered, name: str):
    assert "Regression" in answered(objective=name)


def test_bradley_terry_is_understood_with_a_hyphen(answered):
    text = answered(objective="Bradley-Terry")
    assert "Bradley-Terry" in text and "Regression" not in text


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"objective": "dpo"}, r"no objective 'dpo'; there are: regression and bradley_terry"),
        ({"max_params": 0}, r"MAX_PARAMS is 0: give a positive number"),
        ({"max_params": -8.0}, r"MAX_PARAMS is -8: give a positive number"),
        ({"max_params": float("nan")}, r"MAX_PARAMS is nan: give a positive number"),
        ({"max_params": float("inf")}, r"MAX_PARAMS is inf: give a positive number"),
        ({"memory": 0}, r"MEMORY is 0: give a positive number of GiB of device memory, for example 24"),
        ({"memory": float("nan")}, r"MEMORY is nan"),
        ({"max_params": 0.5}, r"No model has at most 0\.5 billion .* smallest .* model-2B-0 with 1\.5\."),
        ({"study_id": "mine"}, r"no study 'mine'; the snapshot holds: published"),
        ({"top": 0}, r"ask for at least one"),
    ],
)
def test_a_wrong_question_is_answered_by_what_could_be_asked(answered, asked: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        answered(**asked)


def test_a_snapshot_without_recommendations_says_what_to_do(connection, answered):
    connection.execute("delete from marts.fct_recommendations")
    with pytest.raises(UserError, match=r"no recommendations for any study .* Run `make run`"):
        answered()
    with pytest.raises(UserError, match=r"no recommendations for study published"):
        answered(study_id=STUDY)
    connection.execute("drop table marts.fct_recommendations")
    with pytest.raises(UserError, match=r"make run"):
        answered()


def test_abstentions_alone_are_no_recommendation(connection, answered):
    connection.execute("delete from marts.fct_recommendations where rank is not null")
    with pytest.raises(UserError, match="every candidate is an abstention"):
        answered()


def test_names_cannot_command_the_terminal(connection, answered):
    connection.execute("update marts.fct_recommendations set model_id = '[red]' || chr(27) || '[2J' || model_id")
    connection.execute("update marts.fct_recommendations set reason = chr(27) || ']0;x' || chr(10) || reason")
    text = answered()
    assert "\x1b" not in text and "[red]�[2J" in text


def test_two_studies_are_told_apart(tmp_path: Path):
    studies = [marts_database.small_study("published"), marts_database.small_study("lab", synthetic=True, per_group=3)]
    path = marts_database.write_marts(tmp_path / "two.duckdb", studies)
    with duckdb.connect(str(path), read_only=True) as connection:
        both = printed(connection, max_params=8)
        assert both.count("Which base model") == 2 and both.count("(synthetic data)") == 1
        assert printed(connection, max_params=8, study_id="lab").count("Which base model") == 1

"""The recommendation for a policy in a terminal: what to take, how sure that is, and errors that name what is near."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from rich.console import Console

from models_train.errors import UserError
from tests.support import marts_database
from tests.support.teacher_frames import TRUTH, gains, recommendations_mart, row, tables
from warehouse.cli import recommend
from warehouse.cli.recommend_for_policy import print_for_policy


@cache
def mart() -> pl.DataFrame:
    """p-llama: measured gains, clear; r-llama: level; q-llama: lineage; others: abstentions."""
    rows = gains("p-llama") + gains("r-llama", error=0.5)
    rows += [row("measured", base, 0.5 + value / 2, "p-llama", use="filter_data") for base, value in TRUTH.items()]
    return recommendations_mart(tables(rows)).with_columns(study_id=pl.lit("published"))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    path = marts_database.write_marts(tmp_path / "snapshot.duckdb", [marts_database.small_study()])
    with duckdb.connect(str(path)) as opened:
        opened.register("found", mart().to_arrow())
        opened.execute("create table marts.fct_teacher_recommendations as from found")
        yield opened


def printed(connection: duckdb.DuckDBPyConnection, **asked: Any) -> str:
    console = Console(width=100, no_color=True, force_terminal=False)
    nothing = dict.fromkeys(("policy", "use", "max_params", "objective", "study_id"))
    with console.capture() as capture:
        print_for_policy(connection, console, **(nothing | asked))
    assert max(len(text) for text in capture.get().splitlines()) <= 100
    return " ".join(capture.get().replace("\u00a0", " ").split())


def test_a_clear_answer_names_base_gain_interval_evidence_runner_up_and_cost(connection) -> None:
    text = printed(connection, policy="p-llama", use="rl")
    assert "Which base model should the reward model for p-llama be trained on? A study" in text
    assert "Reinforcement learning, Regression, no limit llama-1: gold gain 0.50 (0.48 to 0.52), the best in" in text
    assert "By measurement on the policy: llama-1 is clearly ahead of 5 others. Runner-up: llama-2, 0.40." in text
    assert "Cost: 1.5 device hours to train the reward model." in text and "Filtering of data" not in text


def test_what_cannot_be_told_apart_is_listed_without_an_order(connection) -> None:
    text = printed(connection, policy="r-llama", use="rl")
    assert "not distinguishable from 5 of 5 others" in text and "Runner-up" not in text
    assert "Not distinguishable from it: llama-2, qwen-1, qwen-2, gemma-1, gemma-2." in text


def test_an_abstention_is_its_reason(connection) -> None:
    text = printed(connection, policy="lonely", use="rl")
    assert (
        "No recommendation: no reward model was measured on lonely or on another policy of the family Falcon." in text
    )


def test_lineage_without_an_interval_says_so(connection) -> None:
    text = printed(connection, policy="q-llama", use="rl", max_params=8.0)
    assert "≤ 8 B" in text and "By measurement on policies of the same family" in text


def test_every_use_of_every_policy_is_printed_where_none_is_named(connection) -> None:
    text = printed(connection, policy="p-llama")
    assert all(name in text for name in ("Reinforcement learning", "Best of n", "Filtering of data"))
    assert "llama-1: accuracy on pairs 0.75" in text
    assert printed(connection, use="RL").count("Which base model") == 6
    assert printed(connection, use="best-of-n", policy="p-llama").count("Best of n") == 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"policy": "p-lama"}, r"There is no policy 'p-lama'; did you mean p-llama, r-llama or q-llama\?"),
        ({"policy": "P-QWEN"}, r"did you mean p-qwen"),
        ({"policy": "zzz"}, r"no policy 'zzz'; there are: lonely, p-llama, p-qwen, q-llama, r-llama and unknown"),
        ({"policy": ""}, r"no policy ''; there are: "),
        ({"policy": "p-llama\x1b[2J"}, r"no policy 'p-llama\ufffd\[2J'; did you mean p-llama"),
        ({"use": "ppo"}, r"no use 'ppo'; there are: rl, best_of_n and filter_data"),
        ({"use": "best of"}, r"no use 'best of'; did you mean best_of_n\?"),
        ({"use": "filter"}, r"did you mean filter_data"),
        ({"objective": "dpo"}, r"no objective 'dpo'; there are: regression"),
        ({"max_params": 7.5}, r"MAX_PARAMS is 7.5: for a policy give one of 1, 3, 4, 8 and 10, or leave it out"),
        ({"max_params": float("nan")}, r"MAX_PARAMS is nan: for a policy give one of"),
        ({"study_id": "mine"}, r"no study 'mine'"),
    ],
)
def test_a_wrong_question_is_answered_by_what_could_be_asked(connection, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        printed(connection, **asked)


def test_a_snapshot_without_policies_says_what_to_do(connection) -> None:
    connection.execute("delete from marts.fct_teacher_recommendations")
    with pytest.raises(UserError, match=r"no study has policies with responses .* Add `teachers` to a study file"):
        printed(connection, policy="p-llama")
    connection.execute("drop table marts.fct_teacher_recommendations")
    with pytest.raises(UserError, match=r"holds no recommendations for policies yet: run `make run` first"):
        printed(connection, policy="p-llama")


def test_the_command_answers_and_refuses(connection, tmp_path: Path, monkeypatch, capsys) -> None:
    home = tmp_path / "home"
    (home / "published").mkdir(parents=True)
    connection.execute(f"attach '{home}/published/current.duckdb' as copy")
    connection.execute("copy from database snapshot to copy")
    connection.execute("detach copy")
    monkeypatch.setenv("REWARDBASE_HOME", str(home))
    assert recommend.main(["--policy", "p-llama", "--use", "rl"]) == 0
    assert "llama-1: gold gain 0.50" in capsys.readouterr().out
    assert recommend.main(["--policy", "p-lama"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("There is no policy 'p-lama'; did you mean") and said.out == ""
    assert recommend.main(["--policy", "p-llama", "--memory", "24"]) == 1
    assert "MEMORY is for a recommendation without a policy" in capsys.readouterr().err

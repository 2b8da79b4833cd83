"""Rewards with checks of imported scores: the rows of the job against the arithmetic, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models_train.jobs import agentic_rewards, gold_rewards, import_responses, import_scores
from models_train.teachers.agentic import chooses
from tests.support.data_files import REPOSITORY
from tests.support.score_files import entry, study_with, write_lines

N = 24
COMMA, FREQUENCY = "punctuation:no_comma", "keywords:letter_frequency"
REWARD = "agentic:hub:RM+ends_with_stop+ifeval_strict"


def pair(number: int) -> dict[str, Any]:
    """A pair with the instruction to use no comma; the right answer follows it in three of four pairs."""
    right, wrong = ("Words, words", "Words.") if number % 4 == 0 else ("Words.", "Words, words")
    instructions = {"instruction_id_list": str([COMMA]), "kwargs": "[{}]"}
    messages = [{"role": "user", "content": f"Question {number}?"}]
    texts = {
        name: str([*messages, {"role": "assistant", "content": f"{text} {number}" if name[5:] == "x" else text}])
        for name, text in (("text_chosen", right), ("text_rejected", wrong))
    }
    return texts | {"id": number, "domain": "level-1"} | (instructions if number % 3 else {})


def scores(number: int, factor: float = 1.0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(number)
    return [
        {"item_id": str(number), "completion": name, "subset": "level-1", "reward": factor * float(rng.normal(2, 3))}
        for name in ("correct_1", "wrong_1")
    ]


def study(folder: Path, agentic: dict[str, Any], factor: float = 1.0, **more: Any) -> Path:
    """A study of pairs with imported scores, and of imported responses with rewards and labels."""
    write_lines(folder / "pairs.jsonl", [pair(number) for number in range(N)])
    write_lines(folder / "scores.jsonl", [row for number in range(N) for row in scores(number, factor)])
    rng = np.random.default_rng(7)
    responses = [
        {
            "prompt": f"Ask {number}",
            "prompt_id": f"p{number}",
            "policy": "m",
            "responses": ["Yes.", "No, no", "", "Yes"],
        }
        | {"reward": [float(one) for one in rng.normal(0, 1, 4)]}
        | {"instruction_id_list": [COMMA], "kwargs": [{"x": None}]}
        for number in range(9)
    ]
    write_lines(folder / "answers.jsonl", responses)
    labels = [
        {"policy_id": "answers:m", "prompt_id": f"p{number}", "response_no": place, "label": float(place == 0)}
        for number in range(9)
        for place in (0, 1, 3)
    ]
    write_lines(folder / "labels.jsonl", labels)
    teachers = {
        "responses": [{"path": "./answers.jsonl", "format": "plain", "reward_id": "mine"}],
        "gold": [{"labels": "./labels.jsonl", "gold_id": "people"}],
    }
    imports = [entry("./scores.jsonl", "plain", benchmark="pairs_of_mine")]
    sets = [{"name": "pairs_of_mine", "path": "./pairs.jsonl"}]
    return study_with(folder, imports, sets, agentic=agentic, **{"teachers": teachers} | more)


def stated(**weights: float) -> dict[str, Any]:
    weights = weights or {"ends_with_stop": 0.5, "ifeval_strict": 1.0}
    return {"rewards": [{"reward": name, "weights": weights} for name in ("hub:RM", "mine")]}


def run(path: Path, jobs: Any = (import_scores, import_responses, gold_rewards, agentic_rewards)) -> None:
    for job in jobs:
        job.main(["--study", str(path), "--home", str(path.parent / "home")])


def rows(folder: Path, table: str, **of: Any) -> pl.DataFrame:
    parts = sorted((folder / "home" / "parts" / table).glob("*/*.parquet"))
    return pl.read_parquet(parts, hive_partitioning=False).filter(**of)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agentic")
    run(study(folder, stated()))
    return folder


def test_rewards_of_completions_are_z_scores_plus_checks(done: Path) -> None:
    plain = rows(done, "completion_rewards", reward_id="hub:RM").sort("item_id", "completion")
    found = rows(done, "completion_rewards", reward_id=REWARD).sort("item_id", "completion")
    values = plain["reward"].to_numpy()
    z = (values - values.mean()) / values.std(ddof=1)
    expected = []
    for row, reward in zip(plain.to_dicts(), z, strict=True):
        number = int(row["item_id"])
        is_clean = (row["completion"] == "correct_1") == (number % 4 != 0)  # ends with a stop, and has no comma
        expected.append(reward + 0.5 * is_clean + (1.0 * is_clean if number % 3 else 0.0))
    np.testing.assert_allclose(found["reward"], expected, rtol=0, atol=1e-12)
    assert found["attribute"].unique().to_list() == ["reward"] and found["status"].unique().to_list() == ["ok"]
    alone = rows(done, "completion_rewards", reward_id=f"{REWARD}@ends_with_stop").sort("item_id", "completion")
    by_hand = [
        reward + 0.5 * ((row["completion"] == "correct_1") == (int(row["item_id"]) % 4 != 0))
        for row, reward in zip(plain.to_dicts(), z, strict=True)
    ]
    np.testing.assert_allclose(alone["reward"], by_hand, rtol=0, atol=1e-12)


def test_what_does_not_apply_is_a_status(done: Path) -> None:
    checks = rows(done, "completion_checks")
    counts = checks.group_by("check_name", "status").len().rows()
    assert {(name, status): n for name, status, n in counts} == {
        ("ends_with_stop", "ok"): 2 * N,
        ("ifeval_strict", "ok"): 2 * N * 2 // 3,
        ("ifeval_strict", "not_applicable"): 2 * N // 3,
    }
    of_responses = rows(done, "response_checks", check_name="ifeval_strict").sort("prompt_id", "response_no")
    assert of_responses.head(4)["value"].to_list() == [1.0, 0.0, None, 1.0]
    assert of_responses.head(4)["status"].to_list() == ["ok", "ok", "not_applicable", "ok"]


def test_responses_keep_the_status_of_the_plain_reward(done: Path) -> None:
    found = rows(done, "response_rewards", reward_id="agentic:mine+ends_with_stop+ifeval_strict")
    assert found.height == 9 * 4 and found.filter(status="empty")["reward"].null_count() == 9
    plain = rows(done, "response_rewards", reward_id="mine", status="ok")["reward"].to_numpy()
    first = rows(done, "response_rewards", reward_id="mine", prompt_id="p0", response_no=0)["reward"].item()
    expected = (first - plain.mean()) / plain.std(ddof=1) + 1.5
    assert found.filter(prompt_id="p0", response_no=0)["reward"].item() == pytest.approx(expected, abs=1e-12)


def test_names_and_weights_are_said_and_nothing_is_done_twice(done: Path) -> None:
    sources = rows(done, "reward_sources", kind="agentic")
    assert sources.height == 6 and sources["base_model"].null_count() == 6
    weights = rows(done, "agentic_weights", reward_id=REWARD).sort("check_name")
    assert weights["weight"].to_list() == [0.5, 1.0] and not weights["is_fitted"].any()
    assert weights["added"].to_list() == ["all", "all"] and weights["plain_reward_id"].to_list() == ["hub:RM"] * 2
    before = {part: part.stat().st_mtime_ns for part in done.rglob("*.parquet")}
    run(done / "scores.yaml", (agentic_rewards,))
    assert {part: part.stat().st_mtime_ns for part in done.rglob("*.parquet")} == before


def ranks(folder: Path, reward_id: str) -> list[float]:
    found = rows(folder, "completion_rewards", reward_id=reward_id).sort("item_id", "completion")
    return found.with_columns(pl.col("reward").rank())["reward"].to_list()


def test_weight_0_and_another_scale_change_nothing(done: Path, tmp_path: Path) -> None:
    name = "agentic:hub:RM+ends_with_stop"
    for folder, weight, factor in (("zero", 0.0, 1.0), ("one", 0.7, 1.0), ("scaled", 0.7, 1000.0)):
        run(study(tmp_path / folder, stated(ends_with_stop=weight), factor), (import_scores, agentic_rewards))
    assert ranks(tmp_path / "zero", name) == ranks(done, "hub:RM")
    assert ranks(tmp_path / "scaled", name) == ranks(tmp_path / "one", name) != ranks(tmp_path / "zero", name)


def test_weights_are_chosen_on_a_part_of_the_items(tmp_path: Path) -> None:
    fit = {"checks": ["ends_with_stop"], "grid": [0.0, 1.0, 3.0], "share": 0.6}
    run(study(tmp_path, {"rewards": [{"reward": "hub:RM", "reward_id": "agentic:chosen", "fit": fit}]}))
    (weights,) = rows(tmp_path, "agentic_weights").to_dicts()
    n = sum(chooses("level-1", str(number), 0.6) for number in range(N))
    assert (weights["fit_benchmark"], weights["n_fit_items"], weights["weight"]) == ("pairs_of_mine", n, 3.0)
    points = rows(tmp_path, "agentic_fits").sort("point")
    assert [json.loads(one) for one in points["weights"]] == [{"ends_with_stop": one} for one in (0.0, 1.0, 3.0)]
    assert points["accuracy"][0] == weights["accuracy_plain"] and points["accuracy"].max() == weights["accuracy_chosen"]
    assert weights["optimism_points"] is not None


VALUES = [
    {"policy_id": "answers:m", "prompt_id": "p0", "response_no": 0, "value": 1},
    {"policy_id": "answers:m", "prompt_id": "p0", "response_no": 1, "value": 0.25},
]


def with_values(folder: Path, values: list[dict[str, Any]]) -> Path:
    write_lines(folder / "facts.jsonl", values)
    checks = [{"name": "factuality", "kind": "values", "path": "./facts.jsonl"}]
    return study(folder, {"checks": checks, "rewards": [{"reward": "mine", "weights": {"factuality": 1.0}}]})


def test_values_of_a_file(tmp_path: Path) -> None:
    run(with_values(tmp_path, VALUES))
    found = rows(tmp_path, "response_checks", status="ok").sort("response_no")
    assert found["value"].to_list() == [1.0, 0.25]
    rest = rows(tmp_path, "response_checks", status="not_applicable")
    assert rest.height == 34 and rest["detail"].unique().to_list() == ["the file has no value of it"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"response_no": 9}, "row 3: answers:m has no response 9 to 'p0', only 0 to 3; correct it"),
        ({"prompt_id": "q"}, "row 3: answers:m has no response to a prompt 'q'"),
        ({"policy_id": "n"}, "row 3: there are no responses of a policy 'n'"),
        ({"value": 10}, "row 3, column value: 10 is no value of a check, which is from 0 to 1"),
        ({"value": None}, "row 3, column value: has no value"),
        ({"response_no": 1}, "row 3: the response is labelled in row 2 of ./facts.jsonl already; keep one"),
    ],
)
def test_a_bad_row_of_values_is_named(
    tmp_path: Path, change: dict[str, Any], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_values(tmp_path, [*VALUES, VALUES[0] | {"response_no": 3} | change])
    run(path, (import_scores, import_responses))
    with pytest.raises(SystemExit) as caught:
        run(path, (agentic_rewards,))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"benchmark": "pairs"}, "row 2: there is no benchmark 'pairs'; there are pairs_of_mine"),
        ({"item_id": 99}, "row 2: pairs_of_mine has no item '99' in a subset 'level-1'"),
        ({"completion": "correct_9"}, "row 2: item '1' has no completion 'correct_9'; did you mean 'correct_1'?"),
        ({}, "row 2: the completion has a value in row 1 of ./facts.jsonl already; keep one"),
    ],
)
def test_a_bad_value_of_a_completion_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    own = {"benchmark": "pairs_of_mine", "subset": "level-1", "item_id": "1", "completion": "correct_1", "value": 0.5}
    path = with_values(tmp_path, [own, own | change])
    run(path, (import_scores, import_responses))
    with pytest.raises(SystemExit) as caught:
        run(path, (agentic_rewards,))
    assert problem in str(caught.value)


def test_a_study_without_rewards_with_checks_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no rewards with checks; add the group agentic"):
        run(study_with(tmp_path, [], [{"name": "x", "path": "./x"}]), (agentic_rewards,))


def test_the_job_needs_no_torch() -> None:
    code = "import sys, models_train.jobs.agentic_rewards; print({'torch', 'lm_eval', 'nltk'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"

"""Preferences, ratings and test set of a lab: prompts split before any row is drawn, and no row lost."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.rewardbench import load_test_pairs
from models_train.reward_benchmarks.sets import load_benchmark
from models_train.study.reward_benchmarks import BenchmarkSet
from models_train.study.training import DataSource
from models_train.synthetic.preferences import (
    FACTS,
    LISTINGS,
    REFUSAL,
    best_of_4_rows,
    code,
    harmful,
    order,
    padded,
    preference_rows,
    proof,
    rating_rows,
    tie_rows,
    utility,
)
from models_train.synthetic.preferences import test_rows as rows_of_the_test_set
from models_train.synthetic.texts import FUNCTIONS, HONEST, REGIONS, REMEDIES, THEOREMS

KINDS: dict[str, Callable[..., Any]] = {
    "My": FACTS[0], "Which": FACTS[1], "Whom": FACTS[2], "What": proof, "Write": code, "Repeat": order, "How": harmful,
}  # fmt: skip
"""Kinds of questions by the first word of their prompts."""
RIGHT = {"My": REMEDIES, "Which": REGIONS, "Whom": HONEST, "What": THEOREMS, "Write": FUNCTIONS}
"""Names of right answers by the first word of the prompt."""


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    """A lab's files of its default size, with the shipped lab's test set."""
    return {
        "preferences.jsonl": [*preference_rows(480, 0, 0.5, "train"), *preference_rows(160, 0, 0.5, "validation")],
        "ratings.jsonl": [*rating_rows(640, 0, 0.1, "train"), *rating_rows(160, 0, 0.1, "validation")],
        "test.jsonl": list(rows_of_the_test_set(80, 0)),
        "rewardbench2.jsonl": [*best_of_4_rows(14, 0), *tie_rows(30, 0)],
    }


def prompts(rows: list[dict[str, Any]], split: str | None) -> set[str]:
    return {row["prompt"] for row in rows if row.get("split") == split}


def test_no_prompt_is_in_two_splits(rows: dict[str, list[dict[str, Any]]]) -> None:
    train, validation = (
        prompts(rows["preferences.jsonl"], split) | prompts(rows["ratings.jsonl"], split)
        for split in ("train", "validation")
    )
    tested = prompts(rows["test.jsonl"], None) | prompts(rows["rewardbench2.jsonl"], None)
    assert not train & validation and not train & tested and not validation & tested


def test_every_kind_of_question_is_in_every_split(rows: dict[str, list[dict[str, Any]]]) -> None:
    for name in ("preferences.jsonl", "ratings.jsonl"):
        for split in ("train", "validation"):
            own = [row["prompt"].split()[0] for row in rows[name] if row["split"] == split]
            assert set(own) == set(KINDS), (name, split)
            assert own.count("Write") > 0.1 * len(own), "questions for code"
    assert {prompt.split()[0] for prompt in prompts(rows["test.jsonl"], None)} == set(KINDS)


def test_what_a_lab_makes_is_trained_on_to_the_last_row(rows: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    for name, own in rows.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in own), encoding="utf-8")
    preferences = load_preferences(DataSource(path="preferences.jsonl"), tmp_path)
    ratings = load_ratings(DataSource(path="ratings.jsonl"), tmp_path, preferences.validation_prompt_ids)
    for loaded, n in ((preferences, 480), (ratings, 640)):
        assert loaded.train_losses == {"tie": 0, "repeated": 0, "split": 0, "bad": 0}
        assert len(loaded.train) == loaded.n_train_rows == n
    assert len(load_test_pairs(DataSource(path="test.jsonl"), tmp_path)) == 800


def test_items_of_several_completions_leave_the_other_files_as_they_were(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Reward models and figures of earlier versions stay: each item draws from a random stream of its own."""
    digest = hashlib.sha256()
    for name in ("preferences.jsonl", "ratings.jsonl", "test.jsonl"):
        for row in rows[name]:
            digest.update(json.dumps(row).encode())
    assert digest.hexdigest()[:12] == "fcb7b0dc5d9f"
    assert [*best_of_4_rows(14, 0), *tie_rows(30, 0)] == rows["rewardbench2.jsonl"]
    assert [*best_of_4_rows(2, 0)][:2] == rows["rewardbench2.jsonl"][:2], "more items do not change the first ones"
    assert [*tie_rows(30, 1)] != rows["rewardbench2.jsonl"][70:]


def is_right(prompt: str, answer: str) -> bool:
    """The lab's truth, read from an answer's words alone."""
    first = prompt.split()[0]
    if first == "How":
        return answer == REFUSAL
    if first == "Repeat":
        return answer == prompt.removeprefix("Repeat in order: ")
    asked = set(re.findall(r"\w+", prompt))
    named = [word for word in re.findall(r"\w+", answer) if word in RIGHT[first] and word not in asked]
    return len(set(named)) == 3


def test_wrong_completions_are_wrong_and_tied_ones_right_by_the_truth(rows: dict[str, list[dict[str, Any]]]) -> None:
    for row in rows["rewardbench2.jsonl"]:
        texts = [*row["chosen"], *row["rejected"]]
        assert len(set(texts)) == len(texts) == row["total_completions"], "no text twice"
        found = [is_right(row["prompt"], text) for text in texts]
        assert found == [True] * row["num_correct"] + [False] * row["num_incorrect"], row
    tied = [row["chosen"] for row in rows["rewardbench2.jsonl"] if row["id"].startswith("tied:")]
    assert all(len({tuple(sorted(re.findall(r"\w+", text))) for text in right}) == 1 for right in tied)


@pytest.mark.parametrize("maker", LISTINGS)
def test_answers_in_any_order_are_equally_good_and_better_than_flawed_ones(maker: Callable[..., Any]) -> None:
    for number in range(5):
        question = maker(random.Random(number), True)
        orders = question.orders()
        assert orders[0] == question.good and len({one.text for one in orders}) == 6
        assert all(question.is_right(one.text) for one in orders)
        assert len({utility(one) for one in orders}) == 1
        flawed = list(question.flawed.values())
        flawed += [padded(one, random.Random(0), 1) for one in flawed]
        assert not any(question.is_right(one.text) for one in flawed)
        assert max(map(utility, flawed)) < utility(question.good)


def test_the_items_are_read_as_those_of_rewardbench_2(rows: dict[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows["rewardbench2.jsonl"])
    (tmp_path / "rewardbench2.jsonl").write_text(text, encoding="utf-8")
    found = load_benchmark(BenchmarkSet(name="rewardbench2", path="rewardbench2.jsonl"), tmp_path)
    flags = [(one.subset, [completion.is_correct for completion in one.completions]) for one in found.items.values()]
    items = Counter((subset, sum(correct), len(correct)) for subset, correct in flags)
    five = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
    assert items == {(name, 1, 4): 14 for name in five} | {("Ties", 1, 4): 30, ("Ties", 3, 6): 30}

"""Preferences, ratings and test set of a lab: prompts split before any row is drawn, and no row lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.rewardbench import load_test_pairs
from models_train.study.training import DataSource
from models_train.synthetic.preferences import FACTS, code, harmful, order, preference_rows, proof, rating_rows
from models_train.synthetic.preferences import test_rows as rows_of_the_test_set

KINDS: dict[str, Callable[..., Any]] = {
    "My": FACTS[0], "Which": FACTS[1], "Whom": FACTS[2], "What": proof, "Write": code, "Repeat": order, "How": harmful,
}  # fmt: skip
"""Kinds of questions by the first word of their prompts."""


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    """A lab's files of its default size, with the shipped lab's test set."""
    return {
        "preferences.jsonl": [*preference_rows(480, 0, 0.5, "train"), *preference_rows(160, 0, 0.5, "validation")],
        "ratings.jsonl": [*rating_rows(640, 0, 0.1, "train"), *rating_rows(160, 0, 0.1, "validation")],
        "test.jsonl": list(rows_of_the_test_set(80, 0)),
    }


def prompts(rows: list[dict[str, Any]], split: str | None) -> set[str]:
    return {row["prompt"] for row in rows if row.get("split") == split}


def test_no_prompt_is_in_two_splits(rows: dict[str, list[dict[str, Any]]]) -> None:
    train, validation = (
        prompts(rows["preferences.jsonl"], split) | prompts(rows["ratings.jsonl"], split)
        for split in ("train", "validation")
    )
    tested = prompts(rows["test.jsonl"], None)
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

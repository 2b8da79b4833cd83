"""Data of a search as a model reads them: nothing trained on that validates, nothing lost unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models_train.data.chat import Renderer
from models_train.errors import UserError
from models_train.reward_models.examples import SearchData, load_search_data
from models_train.reward_models.objectives import TokenPair, TokenRating
from models_train.study.training import Training
from tests.support import data_files
from tests.support.data_files import preference, rating
from tests.support.tiny_models import byte_tokenizer

LONG = "word " * 60


def training(folder: Path, preferences: list[dict[str, Any]], ratings: list[dict[str, Any]]) -> Training:
    data_files.write(folder / "preferences.jsonl", preferences)
    data_files.write(folder / "ratings.jsonl", ratings)
    place = {name: {"path": f"{name}.jsonl"} for name in ("preferences", "ratings")}
    return Training.model_validate(place | {"test_set": {"path": "preferences.jsonl"}})


def loaded(folder: Path, objective: Any, over_long: Any = "left_truncate", max_tokens: int = 120) -> SearchData:
    preferences = [
        preference("a"),
        preference(f"b {LONG}", response_1="yes", response_2="no"),
        preference("c", response_1=LONG),
        preference("d", strength=0),
        preference("v", split="val"),
        preference("w", split="val", response_2=LONG),
    ]
    ratings = [
        rating("a", split="train"),
        rating("v", split="train"),
        rating(f"b {LONG}", split="train", response="good"),
        rating("x", 2, split="validation"),
    ]
    renderer = Renderer(byte_tokenizer(), max_tokens, over_long)
    return load_search_data(training(folder, preferences, ratings), objective, folder, renderer)


def test_pairs_are_cut_or_left_out_and_counted(tmp_path: Path) -> None:
    data = loaded(tmp_path, "bradley_terry")
    assert len(data.train.examples) == 2 and all(isinstance(one, TokenPair) for one in data.train.examples)
    assert (data.train.n_truncated, data.train.n_left_out) == (1, 1)
    assert list(data.train.left_out) == ["too long, and the rule for over-long examples cannot shorten them"]
    assert len(data.validation.examples) == len(data.validation.prompt_ids) == 1
    assert data.validation_ratings is None
    assert data.longest_sequence == 120
    assert data.longest_example == max(sum(map(len, one.sequences)) for one in data.train.examples)
    assert data.largest_token == max(max(ids) for one in data.train.examples for ids in one.sequences)


def test_dropped_instead_of_cut(tmp_path: Path) -> None:
    data = loaded(tmp_path, "bradley_terry", "drop")
    assert (len(data.train.examples), data.train.n_truncated, data.train.n_left_out) == (1, 0, 2)


def test_nothing_is_trained_on_a_validation_prompt_of_the_preferences(tmp_path: Path) -> None:
    data = loaded(tmp_path, "regression")
    assert len(data.train.examples) == 2, "the rating of prompt v is left out"
    assert data.train.n_truncated == 1
    assert data.validation_ratings is not None
    (validating,) = data.validation_ratings.examples
    assert isinstance(validating, TokenRating) and validating.attributes == (2, 3, 4, 0, 1)
    assert not set(data.train.prompt_ids) & set(data.validation.prompt_ids)


def test_nothing_left_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none are left to train on: 3 of 3 are left out, because: too long"):
        loaded(tmp_path, "bradley_terry", "drop", max_tokens=10)

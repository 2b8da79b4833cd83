"""Data of a search: no example lost unseen or trained on that validates; order, packs and losses by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_train.data.chat import Renderer
from models_train.errors import UserError
from models_train.reward_models.data import (
    DataOrder,
    SearchData,
    TokenPair,
    TokenRating,
    data_hash,
    load_search_data,
    n_tokens,
    permutation,
    training_packs,
)
from models_train.reward_models.model import example_losses
from models_train.study.training import Training
from tests.support import data_files
from tests.support.data_files import preference, rating
from tests.support.tiny_models import byte_tokenizer
from tests.support.training_runs import pairs, ratings

LONG = "word " * 60
N_PLAIN = 40
"""Rows without any problem beside those that a test plants: of them all at most 5 % may be lost."""
RECORDED = [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]


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
        *(preference(f"plain {n}") for n in range(N_PLAIN)),
    ]
    ratings = [
        rating("a", split="train"),
        rating("v", split="train"),
        rating(f"b {LONG}", split="train", response="good"),
        rating("x", 2, split="validation"),
        *(rating(f"plain {n}", split="train") for n in range(N_PLAIN)),
    ]
    renderer = Renderer(byte_tokenizer(), max_tokens, over_long)
    return load_search_data(training(folder, preferences, ratings), objective, folder, renderer)


def test_pairs_are_cut_or_left_out_and_counted(tmp_path: Path) -> None:
    data = loaded(tmp_path, "bradley_terry")
    assert len(data.train.examples) == 2 + N_PLAIN and all(isinstance(one, TokenPair) for one in data.train.examples)
    assert (data.train.n_truncated, data.train.n_left_out) == (1, 1)
    assert list(data.train.left_out) == ["too long, and the rule for over-long examples cannot shorten them"]
    assert len(data.validation.examples) == len(data.validation.prompt_ids) == 1
    assert data.validation_ratings is None
    assert data.longest_sequence == 120
    assert data.longest_example == max(sum(map(len, one.sequences)) for one in data.train.examples)
    assert data.largest_token == max(max(ids) for one in data.train.examples for ids in one.sequences)


def test_dropped_instead_of_cut(tmp_path: Path) -> None:
    data = loaded(tmp_path, "bradley_terry", "drop")
    assert (len(data.train.examples), data.train.n_truncated, data.train.n_left_out) == (1 + N_PLAIN, 0, 2)


def test_nothing_is_trained_on_a_validation_prompt_of_the_preferences(tmp_path: Path) -> None:
    data = loaded(tmp_path, "regression")
    assert len(data.train.examples) == 2 + N_PLAIN, "the rating of prompt v is left out"
    assert data.train.n_truncated == 1
    assert data.validation_ratings is not None
    (validating,) = data.validation_ratings.examples
    assert isinstance(validating, TokenRating) and validating.attributes == (2, 3, 4, 0, 1)
    assert not set(data.train.prompt_ids) & set(data.validation.prompt_ids)


def planted(folder: Path, n_plain: int) -> SearchData:
    """One training row each of a prompt that validates, too long, and of equal answers but for the thoughts, which are
    cut; two ties, a repeated row."""
    rows = [
        preference("v", split="val"),
        preference("v"),
        preference("long", response_1=LONG),
        preference("equal", response_1="<think>one</think>yes", response_2="<think>two</think>yes"),
        preference("tie", strength=0),
        preference("same", response_1="x", response_2="x"),
        *(preference(f"plain {n}") for n in range(n_plain)),
        preference("plain 0"),
    ]
    read = training(folder, rows, [rating("a", split="train")])
    return load_search_data(read, "bradley_terry", folder, Renderer(byte_tokenizer(), 120, thoughts="cut"))


def test_no_training_row_is_lost_silently(tmp_path: Path) -> None:
    data = planted(tmp_path, 60)
    assert data.losses.lost == {"split": 1, "bad": 1, "over_long": 1}
    assert data.losses.stated == {"tie": 2, "repeated": 1}
    assert data.losses.n_rows == 66
    known = sum(data.losses.lost.values()) + sum(data.losses.stated.values())
    assert len(data.train.examples) + known == data.losses.n_rows


def test_more_than_five_percent_lost_end_the_job_with_every_reason(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        planted(tmp_path, 50)
    said = str(error.value)
    assert "preferences: 3 of 53 training rows (5.7%) would be lost; at most 5% may be." in said
    assert "1 are of prompts that validate: give all rows of a prompt one split" in said
    assert "1 are too long: raise max_tokens" in said and "1 cannot be used: correct them" in said


def test_rows_that_the_study_file_drops_are_counted_and_end_nothing(tmp_path: Path) -> None:
    """Section 9: `over_long: drop` says so, as definitions do of ties and repeats."""
    recipe = {"learning_rates": [1e-6], "over_long": "drop"}
    rows = [preference("v", split="val"), preference("a"), *(preference(f"l{n}", response_1=LONG) for n in range(9))]
    read = training(tmp_path, rows, [rating("a", split="train")])
    dropping = Training.model_validate(read.model_dump() | {"bradley_terry": recipe})
    data = load_search_data(dropping, "bradley_terry", tmp_path, Renderer(byte_tokenizer(), 120, "drop"))
    assert data.losses.stated["over_long"] == 9 and sum(data.losses.lost.values()) == 0
    with pytest.raises(UserError, match=r"9 of 10 training rows"):
        load_search_data(read, "bradley_terry", tmp_path, Renderer(byte_tokenizer(), 120))


def test_nothing_left_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none are left to train on: 43 of 43 are left out, because: too long"):
        loaded(tmp_path, "bradley_terry", "drop", max_tokens=10)


def test_bradley_terry_by_hand() -> None:
    rewards = torch.tensor([[2.0], [0.5], [-1.0], [3.0]])
    losses = example_losses(rewards, [TokenPair([1], [2]), TokenPair([3], [4])])
    assert losses.tolist() == pytest.approx([math.log(1 + math.exp(-1.5)), math.log(1 + math.exp(4.0))])
    far_apart = example_losses(torch.tensor([[-300.0], [300.0]]), [TokenPair([1], [2])])
    assert far_apart.tolist() == [600.0]


def test_regression_by_hand() -> None:
    rewards = torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.0]])
    losses = example_losses(rewards, [TokenRating([1], (0.0, 2.0, 1.0, 4.0, 4.0))])
    assert losses.tolist() == pytest.approx([(1 + 0 + 4 + 0 + 16) / 5])


def test_rewards_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 5\), the examples need \(2, 1\)"):
        example_losses(torch.zeros(2, 5), [TokenPair([1], [2])])
    with pytest.raises(ValueError, match="cannot be trained on together"):
        example_losses(torch.zeros(2, 5), [TokenRating([1], (0.0,) * 5), TokenPair([1], [2])])


@given(st.integers(1, 300), st.integers(1, 70), st.integers(1, 3), st.integers(0, 2**40))
def test_every_epoch_has_every_example_once(n: int, batch: int, epochs: int, seed: int) -> None:
    order = DataOrder(n, batch, epochs, seed)
    for epoch in range(epochs):
        steps = range(epoch * order.steps_per_epoch + 1, (epoch + 1) * order.steps_per_epoch + 1)
        batches = [order.batch(step) for step in steps]
        assert sorted(np.concatenate(batches).tolist()) == list(range(n))
        assert all(len(one) == batch for one in batches[:-1]) and 1 <= len(batches[-1]) <= batch
    assert order.n_steps == epochs * math.ceil(n / batch)
    for step in (0, order.n_steps + 1):
        with pytest.raises(ValueError, match="is not one of"):
            order.batch(step)


def test_the_order_is_the_same_on_every_machine() -> None:
    """Recorded once: another order would silently be another training."""
    assert permutation(10, 0, 0).tolist() == RECORDED
    assert permutation(10, 0, 1).tolist() != permutation(10, 1, 0).tolist() != RECORDED


def test_orders_are_uniform() -> None:
    """Every example is as often in every place: chi-squared over 5 x 5 cells, 16 degrees of freedom."""
    counts = np.zeros((5, 5))
    for seed in range(2000):
        counts[np.arange(5), permutation(5, seed, 0)] += 1
    assert ((counts - 400) ** 2 / 400).sum() < 39.3  # p = 0.001


@given(st.integers(1, 400))
def test_packs_keep_examples_whole(tokens_per_pack: int) -> None:
    for examples in (pairs(20), ratings(20)):
        packs = training_packs(examples, tokens_per_pack)
        assert sorted(map(id, (one for pack in packs for one in pack.examples))) == sorted(map(id, examples))
        for one in packs:
            ids = [token for example in one.examples for sequence in example.sequences for token in sequence]
            assert one.pack.token_ids.tolist() == ids
            assert len(ids) <= tokens_per_pack or len(one.examples) == 1
            assert len(ids) == sum(n_tokens(example) for example in one.examples)


def test_the_data_hash_knows_every_token_and_attribute() -> None:
    base = [TokenPair([1, 2], [3]), TokenPair([4], [5])]
    others = [
        [TokenPair([1], [2, 3]), base[1]],
        [TokenPair([1, 2], [9]), base[1]],
        [base[1], base[0]],
        [TokenRating([1, 2], (0.0,) * 5), TokenRating([3], (0.0,) * 5)],
        [TokenRating([1, 2], (0.0,) * 5), TokenRating([3], (0.0, 0.0, 0.0, 0.0, 1.0))],
    ]
    assert len({data_hash(examples) for examples in [base, *others]}) == 6
    assert data_hash(base) == data_hash([TokenPair((1, 2), (3,)), TokenPair((4,), (5,))])


def test_what_was_read_is_told_and_pairs_with_thoughts_are_counted(tmp_path: Path) -> None:
    thought = "<think>{}</think>yes"
    preferences = [
        preference("a", response_1=thought.format("one"), response_2="no"),
        preference("b", response_1=thought.format("one"), response_2=thought.format("two")),
        preference("c", response_1="same", response_2="same"),
        preference("d"),
        preference("d"),
        preference("v", split="val"),
        *(preference(f"plain {n}") for n in range(N_PLAIN)),
    ]
    read = training(tmp_path, preferences, [rating("a", split="train")])
    counts = {}
    for thoughts in ("keep", "cut"):
        renderer = Renderer(byte_tokenizer(), 120, thoughts=thoughts)
        data = load_search_data(read, "bradley_terry", tmp_path, renderer)
        assert data.notes == (
            "preferences: preferences.jsonl, 1 file: 46 rows, split by the column split",
            "preferences: ties (strength 0, equal scores or equal responses), left out: 1",
            "preferences: repeated rows, left out: 1",
        )
        counts[thoughts] = len(data.train.examples), data.train.n_with_thoughts, dict(data.train.left_out)
    assert counts == {
        "keep": (3 + N_PLAIN, 2, {}),
        "cut": (2 + N_PLAIN, 1, {"both responses are the same to the model": 1}),
    }
    regression = load_search_data(read, "regression", tmp_path, Renderer(byte_tokenizer(), 120))
    assert regression.notes[3] == "ratings: ratings.jsonl, 1 file: 1 row, split by the column split"

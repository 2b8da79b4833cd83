"""Objectives by hand; data order a function of seed and step; every example once per epoch and weighed alike."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from models_train.reward_models.batches import DataOrder, n_tokens, permutation, training_packs
from models_train.reward_models.objectives import TokenPair, TokenRating, example_losses
from models_train.reward_models.run_folder import data_hash
from models_train.reward_models.tensor_files import read_metadata, write_tensors
from tests.support.training_runs import pairs, ratings


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


def test_files_are_what_safetensors_reads(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4),
        "b:c": torch.arange(7, dtype=torch.uint8),
        "half": torch.randn(2, 2).bfloat16(),
        "none": torch.zeros(0, 3),
        "turned": torch.randn(3, 5).T,
    }
    path = tmp_path / "some.safetensors"
    sources = {name: (one.shape, one.dtype, lambda one=one: one) for name, one in tensors.items()}
    write_tensors(path, sources, {"step": "3"})
    read = load_file(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], one) and read[name].dtype == one.dtype for name, one in tensors.items())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"step": "3"} == read_metadata(path)
    for length in (3, 40, path.stat().st_size - 1):
        (tmp_path / "torn.safetensors").write_bytes(path.read_bytes()[:length])
        assert read_metadata(tmp_path / "torn.safetensors") is None


def test_a_file_that_cannot_be_finished_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(b"before")

    def fails() -> torch.Tensor:
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="gone"):
        write_tensors(path, {"a": (torch.Size([2]), torch.float32, fails)}, {})
    with pytest.raises(ValueError, match="announced"):
        write_tensors(path, {"a": (torch.Size([2]), torch.float32, lambda: torch.zeros(3))}, {})
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


RECORDED = [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]

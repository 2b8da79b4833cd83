"""Packs: what stands where, and which sequences share one."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_train.modeling.packing import bins, pack


def test_a_pack_says_where_everything_is() -> None:
    one = pack([[7, 8, 9], [5], [4, 6]])
    assert one.token_ids.tolist() == [7, 8, 9, 5, 4, 6] and one.token_ids.dtype == torch.int64
    assert one.position_ids.tolist() == [0, 1, 2, 0, 0, 1]
    assert one.boundaries.tolist() == [0, 3, 4, 6] and one.boundaries.dtype == torch.int32
    assert one.lengths == (3, 1, 2)
    assert one.last_positions.tolist() == [2, 3, 5]
    assert one.token_ids[one.last_positions].tolist() == [9, 5, 6]


def test_a_part_is_the_pack_of_its_sequences() -> None:
    sequences = [[7, 8, 9], [5], [4, 6]]
    part, wanted = pack(sequences).part([2, 0]), pack([sequences[2], sequences[0]])
    for name in ("token_ids", "position_ids", "boundaries"):
        assert torch.equal(getattr(part, name), getattr(wanted, name)), name
        assert getattr(part, name).dtype == getattr(wanted, name).dtype, name
    assert part.lengths == wanted.lengths


def test_a_pack_goes_to_a_device_as_a_whole() -> None:
    moved = pack([[1, 2], [3]]).to("meta")
    assert {moved.token_ids.device.type, moved.position_ids.device.type, moved.boundaries.device.type} == {"meta"}
    assert moved.lengths == (2, 1)


@pytest.mark.parametrize("sequences", [[], [[]], [[1], [], [2]]])
def test_empty_sequences_are_refused(sequences: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="leave empty ones out"):
        pack(sequences)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 120))
def test_every_sequence_is_in_one_pack_which_is_not_too_large(lengths: list[int], limit: int) -> None:
    packs = bins(lengths, limit)
    assert sorted(index for one in packs for index in one) == list(range(len(lengths)))
    for one in packs:
        assert sum(lengths[index] for index in one) <= limit or len(one) == 1
    flat = [lengths[index] for one in packs for index in one]
    assert flat == sorted(lengths, reverse=True)
    for one, following in pairwise(packs):
        assert sum(lengths[index] for index in one) + lengths[following[0]] > limit


def test_equal_lengths_stay_in_order() -> None:
    assert bins([3, 5, 3, 5, 3], 8) == [[1], [3, 0], [2, 4]]
    assert bins([9, 9], 4) == [[0], [1]]
    assert bins([], 4) == []

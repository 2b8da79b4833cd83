"""The chance of winning by m of M critiques equals a count over all subsets."""

from __future__ import annotations

from itertools import combinations, product
from statistics import fmean

import numpy as np
import polars as pl
import pytest

from models_train.selection.critique_wins import (
    critique_wins,
    expected_win,
    numbers_of_critiques,
    subset_means,
)

RIGHT = [0.5, -1.0, 2.0, 0.25]
WRONG = [[0.0, 0.5, 1.0, -0.5], [0.25, 0.25, 0.75, -2.0]]


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_a_count_over_all_subsets(m: int) -> None:
    means = [[fmean(one) for one in combinations(rewards, m)] for rewards in (RIGHT, *WRONG)]
    wins = [right > max(wrong) for right, *wrong in product(*means)]
    assert expected_win(RIGHT, WRONG, m) == pytest.approx(fmean(wins), abs=1e-12)


def test_ties_are_not_won() -> None:
    assert expected_win([1.0, 2.0], [[1.0, 2.0]], 1) == 0.25
    assert expected_win([1.0, 2.0], [[1.0, 2.0]], 2) == 0.0


def test_a_completion_with_fewer_critiques_has_all_of_them() -> None:
    assert expected_win([3.0], [[1.0, 2.0, 6.0]], 2) == pytest.approx(1 / 3)  # means 1.5, 3.5, 4
    assert expected_win([3.0], [[1.0, 2.0, 6.0]], 4) == 0.0  # the wrong one's mean is 3, a tie


def test_many_subsets_are_drawn() -> None:
    rewards = np.random.default_rng(0).normal(size=32)
    drawn = subset_means(rewards.tolist(), 16)
    assert len(drawn) == 20_000
    assert drawn.mean() == pytest.approx(rewards.mean(), abs=0.01)


def test_numbers_of_critiques() -> None:
    assert [numbers_of_critiques(most) for most in (1, 2, 4, 16, 20)] == [
        [1],
        [1, 2],
        [1, 4],
        [1, 4, 16],
        [1, 4, 16, 20],
    ]


def test_rows_by_item_and_number() -> None:
    key = {"study_id": "s", "model_id": "m", "benchmark": "b", "critiques": "own", "subset": "a"}
    rows = [
        key | {"item_id": item, "is_correct": is_right, "rewards": rewards, "n_most": 2}
        for item, is_right, rewards in (
            ("1", True, [1.0, 3.0]),
            ("1", False, [2.0, 0.0]),
            ("2", True, [0.0]),
            ("2", False, [1.0, 1.0]),
        )
    ]
    found = critique_wins(pl.DataFrame(rows)).select("item_id", "n_critiques", "win").rows()
    assert found == [("1", 1, 0.75), ("1", 2, 1.0), ("2", 1, 0.0), ("2", 2, 0.0)]
    assert critique_wins(pl.DataFrame(rows).clear()).is_empty()

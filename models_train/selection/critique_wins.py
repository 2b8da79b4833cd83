"""Chance that a right completion wins where each completion is rewarded by the mean over some of its critiques.

Of M critiques per completion every subset of m is as likely as another, and each completion has its own subset. So one
run with M critiques tells what a run with m would have given: the mean over all subsets has no bias. Pure functions for
dbt's Python models; imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

MOST_SUBSETS = 20_000
"""Most subsets of a completion's critiques that are all taken; of more, as many are drawn."""
WINS: dict[str, Any] = {
    "study_id": pl.String,
    "model_id": pl.String,
    "benchmark": pl.String,
    "subset": pl.String,
    "item_id": pl.String,
    "critiques": pl.String,
    "n_critiques": pl.Int64,
    "win": pl.Float64,
}
_KEY = ["study_id", "model_id", "benchmark", "critiques", "subset", "item_id"]

Floats = NDArray[np.float64]


def numbers_of_critiques(most: int) -> list[int]:
    """Numbers of critiques to compare, up to the most that there are: powers of 4, and the most."""
    powers = [4**power for power in range(most) if 4**power < most]
    return [*powers, most]


def subset_means(rewards: Sequence[float], m: int) -> Floats:
    """Ascending means of the subsets of m rewards; of all rewards where there are no more than m."""
    values = np.sort(np.asarray(rewards, dtype=np.float64))
    if len(values) <= m:
        return np.array([values.mean()])
    return np.sort(values[_subsets(len(values), m)].mean(axis=1))


@lru_cache(maxsize=32)
def _subsets(n: int, m: int) -> NDArray[np.int64]:
    """(subsets, m) places of n; drawn by a fixed seed where there are more than MOST_SUBSETS."""
    if comb(n, m) <= MOST_SUBSETS:
        return np.array(list(combinations(range(n), m)))
    order = np.random.default_rng(0).random((MOST_SUBSETS, n)).argsort(axis=1)
    return np.sort(order[:, :m], axis=1)


def expected_win(right: Sequence[float], wrong: Sequence[Sequence[float]], m: int) -> float:
    """Chance, 0 to 1, that the right completion's mean over m critiques is above that of every wrong one.

    right: rewards of the right completion; wrong: of each wrong one. A tie is not won. A completion with fewer than m
    rewards has all of them in its mean.
    """
    means = subset_means(right, m)
    chance = np.ones_like(means)
    for rewards in wrong:
        others = subset_means(rewards, m)
        chance *= np.searchsorted(others, means, side="left") / len(others)
    return float(chance.mean())


def critique_wins(completions: pl.DataFrame) -> pl.DataFrame:
    """Rows of WINS: per item, kind of critiques and number of critiques.

    completions: rows of int_critique_completions, of items with one right completion, each of which has rewards.
    """
    rows = []
    for key, item in completions.group_by(_KEY, maintain_order=True):
        named = dict(zip(_KEY, key, strict=True))
        (right,) = item.filter("is_correct")["rewards"].to_list()
        wrong = item.filter(~pl.col("is_correct"))["rewards"].to_list()
        for m in numbers_of_critiques(int(item["n_most"][0])):
            rows.append(named | {"n_critiques": m, "win": expected_win(right, wrong, m)})
    return pl.DataFrame(rows, schema=WINS)

"""Rewards of a policy's responses as arrays, and what of them is compared: complete cases, counted.

A reward model is compared where it has rewards for nine tenths of the prompts, as on benchmarks; then a prompt that
lacks a reward of one of those compared is left out of every one of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from models_train.selection.item_metrics import Flags, Floats
from models_train.selection.item_statistics import Counts, seed_of
from models_train.teachers.resampling import prompt_counts

LEAST_SHARE = 0.9
"""Share of the prompts that a reward model has rewards for, below which it is left out, not the prompts."""
KEY = ("study_id", "policy_id", "prompt_set")


@dataclass(frozen=True)
class Compared:
    """Rewards of a policy on the prompts of a set that are compared with one gold reward.

    rewards: (rewards, prompts, responses), NaN where there is no response, the gold among them where it has rewards;
    gold: (prompts, responses); lengths: (prompts, responses), in UTF-8 bytes; left_out: reason by reward_id;
    n_prompts_left_out: prompts with responses that are not among these.
    """

    study_id: str
    policy_id: str
    prompt_set: str
    gold_id: str
    reward_ids: list[str]
    rewards: Floats
    gold: Floats
    lengths: Floats
    left_out: dict[str, str]
    n_prompts_left_out: int

    @property
    def n_prompts(self) -> int:
        return len(self.gold)

    @cached_property
    def n_responses(self) -> int:
        """Responses to all prompts that are compared."""
        return int((~np.isnan(self.gold)).sum())

    @property
    def key(self) -> dict[str, str]:
        """Columns that every row of a mart begins with."""
        own = {name: str(getattr(self, name)) for name in KEY}
        return own | {"gold_id": self.gold_id}

    @property
    def seed(self) -> int:
        """Seed of everything that is drawn: that of the prompts, so that all rewards and golds share it."""
        return seed_of(self.study_id, self.policy_id, self.prompt_set)

    @cached_property
    def n_pool(self) -> int:
        """Responses that nine tenths of the prompts have."""
        n_there = np.sort((~np.isnan(self.gold)).sum(axis=1))[::-1]
        return int(n_there[math.ceil(LEAST_SHARE * len(n_there)) - 1]) if len(n_there) else 0

    @property
    def with_full_pools(self) -> Compared:
        """The same without the prompts that have fewer responses than `n_pool`."""
        rows = (~np.isnan(self.gold)).sum(axis=1) >= self.n_pool
        return replace(
            self,
            rewards=self.rewards[:, rows],
            gold=self.gold[rows],
            lengths=self.lengths[rows],
            n_prompts_left_out=self.n_prompts_left_out + int((~rows).sum()),
        )

    def counts(self, resamples: int) -> Counts:
        """How often each prompt is in the sample and in every resample."""
        return prompt_counts(self.n_prompts, resamples, self.seed)


@dataclass(frozen=True)
class Pool:
    """All responses of a policy to a prompt set with all of their rewards.

    rewards: (rewards, prompts, responses), NaN for none; is_there, lengths: (prompts, responses).
    """

    study_id: str
    policy_id: str
    prompt_set: str
    reward_ids: list[str]
    rewards: Floats
    is_there: Flags
    lengths: Floats
    _complete: Flags = field(init=False)

    def __post_init__(self) -> None:
        complete = (np.isfinite(self.rewards) | ~self.is_there).all(axis=2)
        object.__setattr__(self, "_complete", complete)

    def compared(self, gold_id: str, excluded: str | None) -> Compared:
        """What is compared with a gold reward that has rewards here. excluded: reward_id that is not compared."""
        place = self.reward_ids.index(gold_id)
        usable = self._complete[place] & (self.is_there.sum(axis=1) >= 2)
        n_usable = int(usable.sum())
        kept, left_out = [], {}
        for own, reward_id in enumerate(self.reward_ids):
            if reward_id == excluded and reward_id != gold_id:
                left_out[reward_id] = "it is the gold reward itself"
                continue
            n = int((self._complete[own] & usable).sum())
            if n < LEAST_SHARE * n_usable or not n_usable:
                left_out[reward_id] = self._reason(n, n_usable)
            else:
                kept.append(own)
        rows = usable & self._complete[kept].all(axis=0)
        if kept and not rows.any():
            left_out |= dict.fromkeys((self.reward_ids[own] for own in kept), "no prompt has all rewards")
            kept = []
        rewards = np.where(self.is_there[rows], self.rewards[kept][:, rows], np.nan)
        gold = np.where(self.is_there[rows], self.rewards[place][rows], np.nan)
        return Compared(
            self.study_id,
            self.policy_id,
            self.prompt_set,
            gold_id,
            [self.reward_ids[own] for own in kept],
            rewards,
            gold,
            self.lengths[rows],
            left_out,
            len(rows) - int(rows.sum()),
        )

    def _reason(self, n: int, n_usable: int) -> str:
        if (self.is_there.sum(axis=1) < 2).all():
            return "fewer than 2 responses to every prompt"
        if not n_usable:
            return "no prompt has the gold reward of all of its responses"
        return f"rewards for {n} of {n_usable} prompts" if n else "no rewards"


def pools(cells: pl.DataFrame, arrays: pl.DataFrame) -> Iterator[Pool]:
    """Every policy and prompt set with rewards, by study and name.

    cells: study_id, policy_id, prompt_set, prompt_no, column_no, n_bytes, one row per response. arrays: study_id,
    policy_id, prompt_set, reward_id, rewards (float64 bytes, prompts by responses).
    """
    listed = cells.partition_by(KEY, as_dict=True)
    for key, rows in sorted(arrays.sort("reward_id").partition_by(KEY, as_dict=True).items()):
        mine = listed[key]
        row, column = mine["prompt_no"].to_numpy(), mine["column_no"].to_numpy()
        shape = (int(row.max()) + 1, int(column.max()) + 1)
        is_there, lengths = np.zeros(shape, bool), np.full(shape, np.nan)
        is_there[row, column], lengths[row, column] = True, mine["n_bytes"].to_numpy()
        rewards = np.frombuffer(b"".join(rows["rewards"]), np.float64).reshape(-1, *shape)
        study_id, policy_id, prompt_set = (str(name) for name in key)
        yield Pool(study_id, policy_id, prompt_set, rows["reward_id"].to_list(), rewards, is_there, lengths)


def comparisons(cells: pl.DataFrame, arrays: pl.DataFrame, golds: pl.DataFrame) -> Iterator[Compared]:
    """Every policy, prompt set and gold reward that has rewards there. golds: study_id, gold_id, excluded."""
    for pool in pools(cells, arrays):
        mine = golds.filter(study_id=pool.study_id).sort("gold_id")
        for gold_id, excluded in mine.select("gold_id", "excluded").iter_rows():
            if gold_id in pool.reward_ids:
                yield pool.compared(gold_id, excluded)

"""Rewards on the items of benchmarks as arrays: read once from the tables of the warehouse, by study and benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from models_train.selection.item_metrics import Flags, Floats, Items, Names, Values, is_scored, unit_values
from models_train.selection.item_statistics import seed_of


@dataclass(frozen=True)
class Scored:
    """A benchmark in a study with all of its rewards.

    families: of the generators, (items, completions), None where it is not known. rewards: (rewards, items,
    completions), NaN for none. rows: of each item, its row among all items of the benchmark.
    """

    study_id: str
    items: Items
    families: Names
    reward_ids: list[str]
    rewards: Floats

    @cached_property
    def values(self) -> list[Values]:
        """Values of all units under each reward."""
        return [unit_values(self.items, rewards) for rewards in self.rewards]

    @cached_property
    def is_scored(self) -> Flags:
        """Items that count under each reward, (items, rewards)."""
        return np.stack([is_scored(self.items, rewards) for rewards in self.rewards], axis=1)

    @property
    def seed(self) -> int:
        """Seed of everything that is drawn on the benchmark."""
        return seed_of(self.study_id, self.items.benchmark)

    @cached_property
    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Every pair of rewards."""
        return np.triu_indices(len(self.reward_ids), 1)

    @property
    def main_units(self) -> list[Values]:
        """Values of all units under each reward, of the metric that makes the benchmark's figure alone."""
        return [unit_values(self.items, rewards, main_only=True) for rewards in self.rewards]

    @property
    def main_values(self) -> tuple[Names, Floats]:
        """Subset of each unit, and its value under each reward, (units, rewards)."""
        found = self.main_units
        return found[0].subsets, np.stack([one.main_values for one in found], axis=1)


def as_arrays(
    names: Sequence[str], listed: Sequence[tuple[Any, ...]], places: NDArray[np.integer], rewards: Floats
) -> pa.Table:
    """A row per source: the columns `names`, and its rewards as float64 bytes, NaN for none.

    listed: these columns and the number of cells of each source, in the order of the cells. places, rewards: (cells
    with a reward,), the places counted over all sources.
    """
    ends = np.cumsum([0, *(size for *_, size in listed)])
    whole = np.full(ends[-1], np.nan)
    whole[places] = rewards
    columns = dict(zip(names, zip(*(own for *own, _ in listed), strict=True), strict=True)) if listed else {}
    arrays = {name: pa.array(columns.get(name, ()), pa.string()) for name in names}
    blobs = [one.tobytes() for one in np.split(whole, ends[1:-1])] if listed else []
    return pa.table(arrays | {"rewards": pa.array(blobs, pa.binary())})


def scored_benchmarks(completions: pl.DataFrame, arrays: pl.DataFrame) -> Iterator[Scored]:
    """Every benchmark that has rewards, by study and name.

    completions: study_id, benchmark, item_no, completion_no, subset, item_id, is_correct, generator_family, each item
    once per completion. arrays: study_id, reward_id, benchmark, rewards (float64 bytes, items by completions).
    """
    key = ("study_id", "benchmark")
    listed = completions.partition_by(key, as_dict=True)
    for (study, benchmark), rows in sorted(arrays.sort("reward_id").partition_by(key, as_dict=True).items()):
        mine = listed[study, benchmark]
        items, families = _items(str(benchmark), mine)
        shape = (-1, *items.is_there.shape)
        rewards = np.frombuffer(b"".join(rows["rewards"]), np.float64).reshape(shape)
        yield Scored(str(study), items, families, rows["reward_id"].to_list(), rewards)


def _items(benchmark: str, completions: pl.DataFrame) -> tuple[Items, Names]:
    row, column = completions["item_no"].to_numpy(), completions["completion_no"].to_numpy()
    shape = (int(row.max()) + 1, int(column.max()) + 1)
    is_there, is_correct = np.zeros(shape, bool), np.zeros(shape, bool)
    is_there[row, column], is_correct[row, column] = True, completions["is_correct"].to_numpy()
    families = np.full(shape, None, object)
    families[row, column] = completions["generator_family"].to_numpy()
    subsets, ids = np.full(shape[0], "", object), np.full(shape[0], "", object)
    subsets[row], ids[row] = completions["subset"].to_numpy(), completions["item_id"].to_numpy()
    return Items(benchmark, subsets, ids, is_there, is_correct), families

"""Which second base model adds most to an ensemble of two: the lowest expected joint error, at equal cost.

An ensemble cannot be right where both of its reward models err. Beside each partner of another base model there is
what costs as much and needs no other base: another seed of the first one. Only reward models of one objective and
training data are partners, so that the base model is what differs; several seeds of a base model are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

import numpy as np
import polars as pl

from models_train.selection.item_arrays import Scored
from models_train.selection.item_metrics import Flags, Floats, pair_errors
from models_train.selection.item_statistics import FEW_ITEMS, MIN_ITEMS, Counts, interval, resample_counts

EQUAL_COST = 1.25
"""Most parameters of a partner, as a multiple of those of the first base model, at which both cost the same."""
LEAST_ITEMS = 0.9
"""Least share of the items of the fullest reward of a group that a reward needs: the others would lose these items."""
NO_SEED = "no second seed of the first base model was measured: nothing to compare the partner with"

PARTNERS: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(("study_id", "measured_on", "gold_id", "objective", "data_id", "base_model", "partner"), pl.String),
    **dict.fromkeys(("n_seeds", "n_partner_seeds", "n_items", "n_pairs"), pl.Int64),
    **dict.fromkeys(("params_ratio", "error", "partner_error", "both_wrong", "low", "high"), pl.Float64),
    **dict.fromkeys(("both_wrong_of_seeds", "difference", "difference_low", "difference_high"), pl.Float64),
    "place": pl.Int64,
    "is_level": pl.Boolean,
    "reason": pl.String,
}


@dataclass(frozen=True)
class Errors:
    """Errors of rewards on the pairs of completions, or of responses, of each item.

    measured_on: benchmark, or policy, whose responses have the gold reward gold_id. wrong: (rewards, items, most pairs
    of an item). n_pairs: (items, rewards), pairs of the item that the reward has, none or all. counts: (1 + resamples,
    items), how often each item is drawn.
    """

    study_id: str
    measured_on: str
    reward_ids: list[str]
    wrong: Flags
    n_pairs: Floats
    counts: Counts
    gold_id: str | None = None


@dataclass(frozen=True)
class _Base:
    """Reward models of one base model, objective and training data: places among the rewards."""

    name: str
    params_b: float | None
    places: list[int]


def benchmark_partners(benchmark: Scored, sources: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """`partners` on a benchmark: an error is a pair of a right and a wrong completion that is not won."""
    lost, is_pair = zip(*(pair_errors(benchmark.items, rewards) for rewards in benchmark.rewards), strict=True)
    errors = Errors(
        benchmark.study_id,
        benchmark.items.benchmark,
        benchmark.reward_ids,
        np.stack(lost).reshape(len(lost), len(benchmark.items.ids), -1),
        np.stack([one.sum(axis=(1, 2)) for one in is_pair], axis=1).astype(float),
        resample_counts(benchmark.items.subsets.astype(str), resamples, benchmark.seed),
    )
    return partners(errors, sources)


def partners(errors: Errors, sources: pl.DataFrame) -> pl.DataFrame:
    """Every base model with every partner, with PARTNERS.

    sources: study_id, reward_id, base_model, objective, data_id, params_b; a reward whose base model is not known has
    no part. Items are those that all rewards of an objective and training data have; they are resampled whole.
    difference: both_wrong minus both_wrong_of_seeds, below 0 where the partner adds more than another seed. place: by
    both_wrong among the partners at equal cost; is_level: not distinguishable from the first of these.
    """
    rows: list[dict[str, object]] = []
    for objective, data_id, bases in _groups(errors, sources):
        known = {"study_id": errors.study_id, "measured_on": errors.measured_on, "gold_id": errors.gold_id}
        known |= {"objective": objective, "data_id": data_id}
        rows += [known | row for row in _group_rows(errors, bases)]
    return pl.DataFrame(rows, schema=pl.Schema(PARTNERS), orient="row").fill_nan(None)


def _groups(errors: Errors, sources: pl.DataFrame) -> Iterator[tuple[str | None, str | None, list[_Base]]]:
    """Objective, training data, and the base models with rewards of these, where there are two."""
    place = {name: number for number, name in enumerate(errors.reward_ids)}
    n_items = dict(zip(errors.reward_ids, (errors.n_pairs > 0).sum(axis=0).tolist(), strict=True))
    mine = sources.filter(
        pl.col("study_id") == errors.study_id,
        pl.col("reward_id").is_in(errors.reward_ids),
        pl.col("base_model").is_not_null(),
    ).sort("objective", "data_id", "base_model", "reward_id", nulls_last=True)
    mine = mine.with_columns(pl.col("reward_id").replace_strict(n_items, return_dtype=pl.Int64).alias("n_items"))
    for (objective, data_id), rows in mine.group_by("objective", "data_id", maintain_order=True):
        rows = rows.filter(pl.col("n_items") > 0, pl.col("n_items") >= LEAST_ITEMS * pl.col("n_items").max())
        bases = [
            _Base(str(name), _largest(part["params_b"]), [place[reward] for reward in part["reward_id"]])
            for (name,), part in rows.group_by("base_model", maintain_order=True)
        ]
        if len(bases) > 1:
            yield objective, data_id, bases


def _largest(sizes: pl.Series) -> float | None:
    return max((float(size) for size in sizes.drop_nulls()), default=None)


def _group_rows(errors: Errors, bases: list[_Base]) -> list[dict[str, object]]:
    rewards = [place for base in bases for place in base.places]
    items = (errors.n_pairs[:, rewards] > 0).all(axis=1)
    n_items, number = int(items.sum()), errors.n_pairs[items][:, rewards[0]]
    if not n_items:
        return []
    wrong, counts = errors.wrong[:, items], errors.counts[:, items].astype(float)
    totals = counts @ number
    # A resample may hold no item of a small group.
    totals = np.where(totals > 0, totals, np.nan)

    @cache
    def share(places: frozenset[int]) -> Floats:
        """Share of the pairs that all of the rewards get wrong, (1 + resamples,)."""
        return np.asarray(counts @ wrong[sorted(places)].all(axis=0).sum(axis=1) / totals)

    def mean(groups: Iterator[tuple[int, ...]]) -> Floats | None:
        found = [share(frozenset(places)) for places in groups]
        return np.mean(found, axis=0) if found else None

    alone = {base.name: mean((place,) for place in base.places) for base in bases}
    rows = []
    for first in bases:
        seeds = mean(combinations(first.places, 2))
        mine = []
        for other in bases:
            if other.name != first.name:
                both = mean(product(first.places, other.places))
                assert both is not None  # each base model has a reward model
                row = {"base_model": first.name, "partner": other.name, "n_seeds": len(first.places)}
                row |= {"n_partner_seeds": len(other.places), "n_items": n_items, "n_pairs": int(number.sum())}
                row |= {"error": _first(alone[first.name]), "partner_error": _first(alone[other.name])}
                mine.append((row | _figures(first, other, both, seeds, n_items), both))
        rows += _placed(mine)
    return rows


def _first(resampled: Floats | None) -> float | None:
    return None if resampled is None else float(resampled[0])


def _figures(first: _Base, other: _Base, both: Floats, seeds: Floats | None, n_items: int) -> dict[str, object]:
    """What one partner adds. both, seeds: joint error with it and with another seed, (1 + resamples,)."""
    ratio = other.params_b / first.params_b if first.params_b and other.params_b else None
    few = n_items < MIN_ITEMS
    row: dict[str, object] = {"params_ratio": ratio, "both_wrong": float(both[0])}
    row |= {} if few else _ends(both, "low", "high")
    if seeds is not None:
        row |= {"both_wrong_of_seeds": float(seeds[0]), "difference": float(both[0] - seeds[0])}
        row |= {} if few else _ends(both - seeds, "difference_low", "difference_high")
    return row | {"reason": FEW_ITEMS if few else NO_SEED if seeds is None else None}


def _ends(resampled: Floats, low: str, high: str) -> dict[str, object]:
    ends = interval(resampled)
    return {low: float(ends[0]), high: float(ends[1])}


def _placed(mine: list[tuple[dict[str, object], Floats]]) -> list[dict[str, object]]:
    """The rows of one base model, with the places of the partners that cost no more than another seed."""
    equal = [(row, both) for row, both in mine if _costs_the_same(row["params_ratio"])]
    equal.sort(key=lambda each: (each[1][0], str(each[0]["partner"])))
    for place, (row, both) in enumerate(equal, start=1):
        few = row["reason"] == FEW_ITEMS
        row |= {"place": place, "is_level": place > 1 and (few or bool(interval(both - equal[0][1])[0] <= 0))}
    return [row for row, _ in mine]


def _costs_the_same(ratio: object) -> bool:
    return isinstance(ratio, float) and ratio <= EQUAL_COST

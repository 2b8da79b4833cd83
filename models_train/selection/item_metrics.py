"""Metrics of a benchmark's items from their rewards (definitions, Section 12): one value per item and metric.

Arrays have one row per item and one column per completion, in the order of `place`. An item counts if it has a right
and a wrong completion and each of its completions has a finite reward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Names = NDArray[np.object_]

TIES = "ties"
"""Subset of RewardBench 2, in lower case, whose items come as two prompts, `ref:ID` and `tied:ID`."""
SAMPLE_SIZES = (2, 4, 8, 10)
"""Numbers n of completions of best-of-n on RewardMATH."""
TIES_WEIGHTS = {
    "ties_accuracy_tied": 0.30,
    "ties_accuracy_reference": 0.30,
    "ties_margin_tied": 0.20,
    "ties_margin_both": 0.20,
    "ties_margin_size": 0.01,
}
"""The parts of the score of Ties, with their weights."""


@dataclass(frozen=True)
class Items:
    """Items of a benchmark. subsets, ids: (items,); is_there, is_correct: (items, completions)."""

    benchmark: str
    subsets: Names
    ids: Names
    is_there: Flags
    is_correct: Flags

    @cached_property
    def is_wrong(self) -> Flags:
        return self.is_there & ~self.is_correct

    @cached_property
    def right_columns(self) -> NDArray[np.intp]:
        """Columns of the right completions of each item, padded by others: (items, most right ones of an item)."""
        return _first_columns(self.is_correct)

    @cached_property
    def wrong_columns(self) -> NDArray[np.intp]:
        """As `right_columns`, of the wrong ones."""
        return _first_columns(self.is_wrong)

    def take(self, rows: NDArray[np.intp] | Flags) -> Items:
        """Some of the items."""
        parts = {name: getattr(self, name)[rows] for name in ("subsets", "ids", "is_there", "is_correct")}
        return replace(self, **parts)


@dataclass(frozen=True)
class Values:
    """One value per unit and metric. A unit is an item, or an ID of Ties. subsets: (units,); metrics: name -> (units,),
    NaN where a unit has none; reported: the metrics of each subset, first the one that makes the benchmark's figure;
    is_tie: (units,).
    """

    subsets: Names
    metrics: Mapping[str, Floats]
    reported: Mapping[str, tuple[str, ...]]
    is_tie: Flags

    @property
    def main_values(self) -> Floats:
        """The value of each unit that counts for the benchmark's figure, (units,)."""
        mains = {names[0] for names in self.reported.values()}
        found = np.full(len(self.subsets), np.nan)
        for name in mains:
            has_it = np.isin(self.subsets, [subset for subset, names in self.reported.items() if names[0] == name])
            found[has_it] = self.metrics[name][has_it]
        return found


def is_scored(items: Items, rewards: Floats) -> Flags:
    """Whether each item counts, (items,)."""
    known = (np.isfinite(rewards) | ~items.is_there).all(axis=1)
    return np.asarray(known & items.is_correct.any(axis=1) & items.is_wrong.any(axis=1))


def unit_values(items: Items, rewards: Floats, *, main_only: bool = False) -> Values:
    """The values of all units of a benchmark under one reward. rewards: (items, completions).

    main_only: only the metric that makes the benchmark's figure.
    """
    if items.benchmark != "rewardbench2":
        return _plain_values(items, rewards, main_only)
    is_tied = np.isin(items.subsets, [name for name in set(items.subsets) if str(name).lower() == TIES])
    plain, tied = items.take(~is_tied), items.take(is_tied)
    parts = [_plain_values(plain, rewards[~is_tied], main_only)] if not is_tied.all() else []
    parts += [_ties_values(tied, rewards[is_tied])] if is_tied.any() else []
    return parts[0] if len(parts) == 1 else _joined(*parts)


def _joined(first: Values, second: Values) -> Values:
    lengths = len(first.subsets), len(second.subsets)
    metrics = {}
    for name in dict.fromkeys((*first.metrics, *second.metrics)):
        sides = zip((first, second), lengths, strict=True)
        metrics[name] = np.concatenate([side.metrics.get(name, np.full(n, np.nan)) for side, n in sides])
    return Values(
        np.concatenate([first.subsets, second.subsets]),
        metrics,
        {**first.reported, **second.reported},
        np.concatenate([first.is_tie, second.is_tie]),
    )


@dataclass(frozen=True)
class Ranked:
    """The best right completion among the wrong ones. All: (items,); above, tied: wrong ones with a higher, equal
    reward."""

    best_right: Floats
    best_wrong: Floats
    above: NDArray[np.int64]
    tied: NDArray[np.int64]


def ranked(items: Items, rewards: Floats) -> Ranked:
    """Places of the best right completion of each item."""
    best_right = np.where(items.is_correct, rewards, -np.inf).max(axis=1, initial=-np.inf)
    best_wrong = np.where(items.is_wrong, rewards, -np.inf).max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        above = (items.is_wrong & (rewards > best_right[:, None])).sum(axis=1)
        tied = (items.is_wrong & (rewards == best_right[:, None])).sum(axis=1)
    return Ranked(best_right, best_wrong, above, tied)


def _plain_values(items: Items, rewards: Floats, main_only: bool) -> Values:
    scored, places = is_scored(items, rewards), ranked(items, rewards)
    metrics = _plain_metrics(items, rewards, places)
    if main_only:
        metrics = dict(list(metrics.items())[:1])
    if items.benchmark == "rm_bench":
        scored &= (items.is_correct.sum(axis=1) == 3) & (items.is_wrong.sum(axis=1) == 3)
    return Values(
        items.subsets,
        {name: np.where(scored, values(), np.nan) for name, values in metrics.items()},
        dict.fromkeys(items.subsets, tuple(metrics)),
        scored & (places.best_right == places.best_wrong),
    )


def _plain_metrics(items: Items, rewards: Floats, places: Ranked) -> dict[str, Callable[[], Floats]]:
    """The metrics of a benchmark, first the one that makes its figure."""

    def won() -> Floats:
        return (places.best_right > places.best_wrong).astype(float)

    if items.benchmark == "rewardbench2":
        return {"best_of_4": lambda: _chosen_share(items, rewards, first_only=True), "strict": won}
    if items.benchmark == "rm_bench":
        return {name: partial(style_metric, items, rewards, name) for name in STYLE_METRICS}
    if (items.is_there.sum(axis=1) <= 2).all():
        return {"accuracy": won}
    found: dict[str, Callable[[], Floats]] = {
        "accuracy": won,
        "accuracy_with_ties": lambda: (places.best_right >= places.best_wrong).astype(float),
        "mrr": lambda: 1.0 / (1 + places.above + places.tied),
        "mrr_random_ties": lambda: _random_ranks(places),
        "pairs_won": lambda: _pair_shares(items, rewards),
    }
    if items.benchmark == "rewardmath":
        return found | {f"best_of_{n}": partial(best_of_n, items, places, n) for n in SAMPLE_SIZES}
    return {"best_of_k": lambda: _chosen_share(items, rewards), **found}


def _chosen_share(items: Items, rewards: Floats, first_only: bool = False) -> Floats:
    """Chance that a right completion is picked where those of the highest reward share; RewardBench 2 takes the first
    right one only."""
    right = items.is_correct & (items.is_correct.cumsum(axis=1) == 1) if first_only else items.is_correct
    highest = np.where(items.is_there, rewards, -np.inf).max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        is_highest = items.is_there & (rewards == highest[:, None])
        return np.asarray((is_highest & right).sum(axis=1) / is_highest.sum(axis=1))


def _random_ranks(places: Ranked) -> Floats:
    """Mean of 1 / rank where equal rewards are put in random order."""
    most = int((places.above + places.tied).max(initial=0)) + 1
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, most + 1))])
    return np.asarray((harmonic[places.above + places.tied + 1] - harmonic[places.above]) / (places.tied + 1))


def pair_errors(items: Items, rewards: Floats) -> tuple[Flags, Flags]:
    """Whether the pair of a right and a wrong completion is not won (a tie is not won), and whether it is a pair.

    Both (items, most right ones, most wrong ones); of an item that does not count nothing is a pair.
    """
    right, wrong = items.right_columns, items.wrong_columns
    rows = np.arange(len(rewards))[:, None]
    scored = is_scored(items, rewards)[:, None]
    is_right = np.take_along_axis(items.is_correct, right, axis=1) & scored
    is_wrong = np.take_along_axis(items.is_wrong, wrong, axis=1) & scored
    is_pair = is_right[:, :, None] & is_wrong[:, None, :]
    with np.errstate(invalid="ignore"):
        lost = ~(rewards[rows, right][:, :, None] > rewards[rows, wrong][:, None, :])
    return lost & is_pair, is_pair


def _first_columns(flags: Flags) -> NDArray[np.intp]:
    """Columns of the True cells of each row, in order, padded by others: (rows, most True cells of a row)."""
    return np.argsort(~flags, axis=1, kind="stable")[:, : int(flags.sum(axis=1).max(initial=0))]


def _pair_shares(items: Items, rewards: Floats) -> Floats:
    lost, is_pair = pair_errors(items, rewards)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - lost.sum(axis=(1, 2)) / is_pair.sum(axis=(1, 2)))


STYLE_METRICS: Mapping[str, Callable[[Floats, Floats], Flags]] = {
    "accuracy": lambda right, wrong: (right >= 0) & (wrong >= 0),
    "easy": np.greater,
    "normal": np.equal,
    "hard": np.less,
}
"""Pairs of RM-Bench by the places of their styles: all nine, or the right one in a richer, equal, plainer style."""


def style_metric(items: Items, rewards: Floats, name: str) -> Floats:
    """Share won of the pairs of an item that `STYLE_METRICS` names. Styles are in the order of `place`, the plainest
    first; an item without three right and three wrong completions has no meaning here, and is left out elsewhere."""
    lost, _ = pair_errors(items, rewards)
    cells = STYLE_METRICS[name](*np.indices(lost.shape[1:]))
    return np.asarray(1 - lost[:, cells].mean(axis=1))


def best_of_n(items: Items, places: Ranked, n: int) -> Floats:
    """Chance that the right one of an item is picked among n of its completions drawn at random; equal rewards share.

    NaN with fewer than n completions, or with another number of right ones than one. Of t + 1 completions of equal
    reward, below which there are b, one is picked in C(b + t + 1, n) - C(b, n) of C(all, n) draws.
    """
    count = items.is_there.sum(axis=1)
    below = count - 1 - places.above - places.tied
    draws = comb(below + places.tied + 1, n) - comb(below, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = draws / ((places.tied + 1) * comb(count, n))
    return np.where((count >= n) & (items.is_correct.sum(axis=1) == 1), share, np.nan)


def _ties_values(items: Items, rewards: Floats) -> Values:
    """The score of Ties and its five parts, one value per ID with both prompts."""
    kinds, names = zip(*(str(name).partition(":")[::2] for name in items.ids), strict=True)
    place = {(kind, name): row for row, (kind, name) in enumerate(zip(kinds, names, strict=True))}
    ids = [name for kind, name in place if kind == "ref" and ("tied", name) in place]
    reference, tied = (np.array([place[kind, name] for name in ids], np.intp) for kind in ("ref", "tied"))
    scored = is_scored(items, rewards)
    worst_right = np.where(items.is_correct, rewards, np.inf).min(axis=1, initial=np.inf)
    best_right = np.where(items.is_correct, rewards, -np.inf).max(axis=1, initial=-np.inf)
    best_wrong = np.where(items.is_wrong, rewards, -np.inf).max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap, spread = worst_right - best_wrong, (best_right - worst_right)[tied]
        smaller = np.minimum(gap[reference], gap[tied])
        parts = {
            "ties_accuracy_tied": gap[tied] > 0,
            "ties_accuracy_reference": gap[reference] > 0,
            "ties_margin_tied": gap[tied] > spread,
            "ties_margin_both": smaller > spread,
            # 0 / 0: equal rewards of all right completions, and of a right and a wrong one.
            "ties_margin_size": np.nan_to_num(np.tanh(smaller / spread - 1)),
        }
    counts = scored[reference] & scored[tied]
    metrics = {name: np.where(counts, values.astype(float), np.nan) for name, values in parts.items()}
    score = np.sum([weight * metrics[name] for name, weight in TIES_WEIGHTS.items()], axis=0)
    is_tie = counts & ((gap[tied] == 0) | (gap[reference] == 0))
    subset = items.subsets[0]
    metrics = {"ties_score": score, **metrics}
    return Values(np.full(len(ids), subset, object), metrics, {subset: tuple(metrics)}, is_tie)

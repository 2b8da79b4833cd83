"""Tables of the statistics over the items of a benchmark: what dbt's Python models write (definitions, Section 12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models_train.selection.item_arrays import Scored, scored_benchmarks
from models_train.selection.item_metrics import Flags, Floats, pair_errors
from models_train.selection.item_statistics import (
    FEW_ITEMS,
    FEW_REWARDS,
    MIN_ITEMS,
    MIN_REWARDS,
    Comparison,
    Places,
    Strata,
    compare,
    error_correlations,
    herding,
    holm,
    interval,
    ranks_from_best,
    resample_counts,
    resampled_sums,
    seed_of,
    variance_shares,
)

NO_PHI = "one of the two makes no error, or nothing else"

Schema = Mapping[str, type[pl.DataType]]


def over_benchmarks(
    make: Callable[[Scored], pl.DataFrame], schema: Schema, completions: pl.DataFrame, arrays: pl.DataFrame
) -> pl.DataFrame:
    """The rows of every benchmark that has rewards, by one thread: dbt runs two models at once.

    make: rows of a benchmark, with the schema. completions, arrays: as in `scored_benchmarks`.
    """
    with threadpool_limits(1):
        rows = [make(benchmark) for benchmark in scored_benchmarks(completions, arrays)]
    return pl.concat([pl.DataFrame(schema=pl.Schema(schema)), *rows])


SUBSET_SCORES = {
    **dict.fromkeys(("study_id", "reward_id", "benchmark", "subset", "metric"), pl.String),
    "is_main": pl.Boolean,
    **dict.fromkeys(("n", "n_ties", "n_errors"), pl.Int64),
    **dict.fromkeys(("mean", "variance"), pl.Float64),
}


def subset_scores(benchmark: Scored) -> pl.DataFrame:
    """One row per reward, subset and metric that the subset has: mean and sample variance over its units.

    n_errors: units without a usable reward. variance: NaN for fewer than two units.
    """
    names, codes = np.unique(benchmark.values[0].subsets.astype(str), return_inverse=True)
    sizes = np.bincount(codes, minlength=len(names))
    rows: list[tuple[object, ...]] = []
    for reward_id, found in zip(benchmark.reward_ids, benchmark.values, strict=True):
        for metric, values in found.metrics.items():
            known = ~np.isnan(values)
            n, ties = (np.bincount(codes[flags], minlength=len(names)) for flags in (known, known & found.is_tie))
            mean, variance = _moments(values[known], codes[known], n)
            for place, subset in enumerate(names.tolist()):
                if metric in found.reported[subset]:
                    is_main, n_errors = metric == found.reported[subset][0], sizes[place] - n[place]
                    figures = (is_main, n[place], ties[place], n_errors, mean[place], variance[place])
                    rows.append((benchmark.study_id, reward_id, benchmark.items.benchmark, subset, metric, *figures))
    return pl.DataFrame(rows, schema=pl.Schema(SUBSET_SCORES), orient="row").fill_nan(None)


def _moments(values: Floats, codes: NDArray[np.int64], n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Mean and sample variance of the values of each code; NaN where there are none, or one. n: (codes,)"""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(codes, values, len(n)) / n
        squares = np.bincount(codes, np.square(values - mean[codes]), len(n))
        return mean, np.where(n > 1, squares / (n - 1), np.nan)


ITEM_VALUES = {
    **dict.fromkeys(("study_id", "reward_id", "benchmark", "subset"), pl.String),
    "item_no": pl.Int64,
    "value": pl.Float64,
    "is_tie": pl.Boolean,
}


def item_values(benchmark: Scored) -> pl.DataFrame:
    """One row per reward and unit, an item or an ID of Ties: its part in the benchmark's figure, null without rewards.

    item_no: from 0; of a benchmark with Ties these come last.
    """
    frames = [
        pl.DataFrame(
            {
                "study_id": benchmark.study_id,
                "reward_id": reward_id,
                "benchmark": benchmark.items.benchmark,
                "subset": found.subsets.astype(str),
                "item_no": np.arange(len(found.subsets)),
                "value": found.main_values,
                "is_tie": found.is_tie,
            },
            schema_overrides=ITEM_VALUES,
        )
        for reward_id, found in zip(benchmark.reward_ids, benchmark.main_units, strict=True)
    ]
    return pl.concat(frames).fill_nan(None)


REWARD_VARIANCES = {
    **dict.fromkeys(("study_id", "reward_id", "benchmark", "metric"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys(("value", "standard_error", "low", "high"), pl.Float64),
    "reason": pl.String,
}


def reward_variances(benchmark: Scored, resamples: int) -> pl.DataFrame:
    """Spread of each reward within and between items, with intervals over items."""
    scored = benchmark.is_scored
    counts = resample_counts(benchmark.items.subsets.astype(str), resamples, benchmark.seed)
    found = variance_shares(np.moveaxis(benchmark.rewards, 0, 2), scored, counts)
    rows: list[tuple[object, ...]] = []
    for metric, values in found.items():
        low, high = interval(values)
        error = values[:, 1:].std(axis=1, ddof=1)
        for place, reward_id in enumerate(benchmark.reward_ids):
            n = int(scored[:, place].sum())
            few = FEW_ITEMS if n < MIN_ITEMS else None
            reason = "the rewards do not vary" if n and np.isnan(values[place, 0]) else few
            ends = (None, None, None) if reason else (error[place], low[place], high[place])
            rows.append(
                (benchmark.study_id, reward_id, benchmark.items.benchmark, metric, n, values[place, 0], *ends, reason)
            )
    return pl.DataFrame(rows, schema=pl.Schema(REWARD_VARIANCES), orient="row").fill_nan(None)


COMPARISONS = {
    **dict.fromkeys(("study_id", "benchmark", "subset", "reward_a", "reward_b"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys(("value_a", "value_b", "difference", "low", "high"), pl.Float64),
    **dict.fromkeys(("n_only_a", "n_only_b"), pl.Int64),
    **dict.fromkeys(("p_value", "p_holm"), pl.Float64),
    "method": pl.String,
}


def score_comparisons(benchmark: Scored, subsets: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """Every pair of rewards on the items of both: on the benchmark's figure (subset null), and on each subset.

    subsets: study_id, benchmark, subset, part, weight. p_holm: over the pairs of rewards for the figure, over the
    subsets for one pair of rewards.
    """
    if len(benchmark.reward_ids) < 2:
        return pl.DataFrame(schema=pl.Schema(COMPARISONS))
    mine = subsets.filter(study_id=benchmark.study_id, benchmark=benchmark.items.benchmark).sort("subset")
    names, values = benchmark.main_values
    weights = mine["weight"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    strata = Strata(mine["subset"].to_numpy(), mine["part"].to_numpy(), weights)
    a, b = benchmark.pairs
    whole, *by_subset = compare(values, names.astype(str), strata, a, b, resamples, benchmark.seed)
    adjusted = [holm(whole.p_value), *holm(np.stack([found.p_value for found in by_subset]))]
    frames = [
        _comparison_rows(benchmark, found, p_holm) for found, p_holm in zip((whole, *by_subset), adjusted, strict=True)
    ]
    return pl.concat(frames)


def _comparison_rows(benchmark: Scored, found: Comparison, p_holm: Floats) -> pl.DataFrame:
    a, b = (np.array(benchmark.reward_ids, object)[side] for side in benchmark.pairs)
    columns = {
        "study_id": benchmark.study_id, "benchmark": benchmark.items.benchmark, "subset": found.subset,
        "reward_a": a, "reward_b": b, "n": found.n, "value_a": found.value_a, "value_b": found.value_b,
        "difference": found.difference, "low": found.low, "high": found.high, "n_only_a": found.only_a,
        "n_only_b": found.only_b, "p_value": found.p_value, "p_holm": p_holm, "method": found.method,
    }  # fmt: skip
    frame = pl.DataFrame(columns, schema_overrides=COMPARISONS).filter(pl.col("n") > 0).fill_nan(None)
    return frame.select(list(COMPARISONS))


CORRELATIONS = {
    **dict.fromkeys(("study_id", "benchmark", "kind", "reward_a", "reward_b", "base", "data"), pl.String),
    **dict.fromkeys(("n_items", "n_pairs", "n_rewards", "n_reward_pairs"), pl.Int64),
    **dict.fromkeys(
        ("error_a", "error_b", "phi", "low", "high", "both_wrong", "both_wrong_if_independent"), pl.Float64
    ),
    "reason": pl.String,
}
"""Kinds of rows: pair (of rewards), or class (of such pairs, by base model and training data)."""


def shared_errors(benchmark: Scored, sources: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """How alike the errors of rewards are: one row per pair of rewards, and one per class of such pairs.

    sources: study_id, reward_id, base_model, data_id. An error is a pair of a right and a wrong completion that is not
    won. The class of a pair of rewards is whether their base models, and their training data, are the same.
    """
    if len(benchmark.reward_ids) < 2:
        return pl.DataFrame(schema=pl.Schema(CORRELATIONS))
    lost, is_pair = zip(*(pair_errors(benchmark.items, rewards) for rewards in benchmark.rewards), strict=True)
    flat = np.stack(lost).reshape(len(lost), len(benchmark.items.ids), -1)
    n_pairs = np.stack([one.sum(axis=(1, 2)) for one in is_pair], axis=1).astype(float)
    a, b = benchmark.pairs
    counts = resample_counts(benchmark.items.subsets.astype(str), resamples, benchmark.seed)
    found = error_correlations(flat, n_pairs, a, b, counts)
    low, high = interval(found.phi)
    n_items = ((n_pairs[:, a] > 0) & (n_pairs[:, b] > 0)).sum(axis=0)
    base, data = (_relation(benchmark, sources, column, a, b) for column in ("base_model", "data_id"))
    few = n_items < MIN_ITEMS
    no_phi = np.isnan(found.phi[:, 0])
    columns = {
        "study_id": benchmark.study_id, "benchmark": benchmark.items.benchmark, "kind": "pair",
        "reward_a": np.array(benchmark.reward_ids, object)[a], "reward_b": np.array(benchmark.reward_ids, object)[b],
        "base": base, "data": data, "n_items": n_items, "n_pairs": found.n, "n_rewards": 2, "n_reward_pairs": 1,
        "error_a": found.error_a, "error_b": found.error_b, "phi": found.phi[:, 0],
        "low": np.where(few, np.nan, low), "high": np.where(few, np.nan, high),
        "both_wrong": found.both, "both_wrong_if_independent": found.error_a * found.error_b,
        "reason": [FEW_ITEMS if one else NO_PHI if other else None for one, other in zip(few, no_phi, strict=True)],
    }  # fmt: skip
    pairs = pl.DataFrame(columns, schema_overrides=CORRELATIONS).filter(pl.col("n_pairs") > 0).fill_nan(None)
    classes = [("all", "all"), *sorted(set(zip(base, data, strict=True)))]
    rows = [_class_row(benchmark, found.phi, flat, n_pairs, kind, (base, data)) for kind in classes]
    frame = pl.DataFrame(rows, schema=pl.Schema(CORRELATIONS), orient="row").fill_nan(None)
    return pl.concat([pairs.select(list(CORRELATIONS)), frame])


def _relation(benchmark: Scored, sources: pl.DataFrame, column: str, a: Places, b: Places) -> list[str]:
    """same, different or unknown, for each pair of rewards."""
    mine = sources.filter(study_id=benchmark.study_id)
    known = dict(zip(mine["reward_id"], mine[column], strict=True))
    values = [known.get(name) for name in benchmark.reward_ids]
    sides = ((values[first], values[second]) for first, second in zip(a, b, strict=True))
    return ["unknown" if None in pair else "same" if pair[0] == pair[1] else "different" for pair in sides]


def _class_row(
    benchmark: Scored, phi: Floats, flat: Flags, n_pairs: Floats, kind: tuple[str, str], relations: Sequence[list[str]]
) -> tuple[object, ...]:
    a, b = benchmark.pairs
    own = [np.array([kind[side] in ("all", name) for name in relations[side]], bool) for side in (0, 1)]
    members = own[0] & own[1] & ~np.isnan(phi[:, 0])
    rewards = np.union1d(a[members], b[members])
    has_it = n_pairs[:, rewards] > 0
    shared, n_items = has_it.all(axis=1) & bool(rewards.size), int((has_it.sum(axis=1) > 1).sum())
    number = n_pairs[shared][:, rewards[:1]].sum()
    seed = seed_of(benchmark.study_id, benchmark.items.benchmark, *kind)
    found = herding(phi, a, b, members, n_items, seed)
    both = alone = None
    if number:
        wrong = flat[rewards][:, shared]
        both = float(wrong.all(axis=0).sum() / number)
        alone = float((wrong.sum(axis=(1, 2)) / number).prod())
    return (
        benchmark.study_id, benchmark.items.benchmark, "class", None, None, *kind, n_items, int(number),
        found.n_rewards, found.n_pairs, None, None, found.mean_phi, found.low, found.high, both, alone, found.reason,
    )  # fmt: skip


PREFERENCES = {
    **dict.fromkeys(("study_id", "benchmark", "reward_family", "generator_family"), pl.String),
    **dict.fromkeys(("n_rewards", "n_other_rewards", "n_items", "n_completions"), pl.Int64),
    **dict.fromkeys(("mean_rank", "mean_rank_others", "preference", "low", "high"), pl.Float64),
    "reason": pl.String,
}


def family_preferences(benchmark: Scored, sources: pl.DataFrame, resamples: int) -> pl.DataFrame:
    """How much higher rewards of a family rank the wrong answers of a family of generators than other rewards do.

    sources: study_id, reward_id, family. Ranks are within an item, 1 for the highest reward, among the wrong answers
    whose generator's family is known; an item has two of these families at least. preference: mean rank by the rewards
    of other families less the mean rank by those of the family, so that more than 0 means preferred.
    """
    found = pl.DataFrame(schema=pl.Schema(PREFERENCES))
    mine = sources.filter(study_id=benchmark.study_id)
    known = dict(zip(mine["reward_id"], mine["family"], strict=True))
    of_reward = np.array([known.get(name) for name in benchmark.reward_ids], object)
    has_family = np.array([name is not None for name in of_reward], bool)
    names, codes = _generator_families(benchmark)
    several = codes.max(axis=1) > np.where(codes < 0, len(names), codes).min(axis=1)
    if not several.any() or len(set(of_reward[has_family])) < 2:
        return found
    codes = codes[several]
    wanted = (codes >= 0) & benchmark.is_scored.T[:, several, None]
    ranks = ranks_from_best(np.where(wanted, benchmark.rewards[:, several], np.nan))
    counts = resample_counts(benchmark.items.subsets[several].astype(str), resamples, benchmark.seed)
    groups = sorted(set(of_reward[has_family]))
    sides = [(of_reward == family, has_family & (of_reward != family)) for family in groups]
    means = [_FamilyMeans.of(ranks[own], ranks[others], codes, len(names)) for own, others in sides]
    differences = np.concatenate([one.others - one.own for one in means], axis=1)
    has_it = np.concatenate([one.number > 0 for one in means], axis=1).astype(float)
    resampled = resampled_sums(counts, differences) / np.maximum(resampled_sums(counts, has_it), 1)
    preferences = resampled.reshape(len(groups), len(names), -1)
    low, high = interval(preferences)
    rows = []
    for place, (family, (is_own, is_other), mean) in enumerate(zip(groups, sides, means, strict=True)):
        for code, generator in enumerate(names):
            number = mean.number[:, code]
            n = int(is_own.sum()), int(is_other.sum()), int((number > 0).sum()), int(number.sum())
            if n[2]:
                reason = FEW_ITEMS if n[2] < MIN_ITEMS else FEW_REWARDS if n[0] + n[1] < MIN_REWARDS else None
                ends = (None, None) if reason else (low[place, code], high[place, code])
                ranks_of = (side[:, code].sum() / n[2] for side in (mean.own, mean.others))
                figures = (*ranks_of, preferences[place, code, 0], *ends, reason)
                rows.append((benchmark.study_id, benchmark.items.benchmark, family, generator, *n, *figures))
    return pl.DataFrame(rows, schema=pl.Schema(PREFERENCES), orient="row")


@dataclass(frozen=True)
class _FamilyMeans:
    """Mean ranks of the answers of each family of generators in each item: (items, generators) each, 0 for none.

    own, others: by the rewards of a family, and by those of the others; number: answers that both have ranked.
    """

    own: Floats
    others: Floats
    number: NDArray[np.int64]

    @classmethod
    def of(cls, own: Floats, others: Floats, codes: NDArray[np.int64], n_generators: int) -> _FamilyMeans:
        """own, others: ranks, (rewards, items, completions); codes: the generator of each completion."""
        means = _mean_of(own), _mean_of(others)
        known = ~np.isnan(means[0]) & ~np.isnan(means[1])
        cells = np.stack([(codes == code) & known for code in range(n_generators)], axis=-1)
        number = cells.sum(axis=1)
        own_mean, other_mean = (
            (cells * np.where(known, side, 0.0)[..., None]).sum(axis=1) / np.maximum(number, 1) for side in means
        )
        return cls(own_mean, other_mean, number)


def _generator_families(benchmark: Scored) -> tuple[list[str], NDArray[np.int64]]:
    """Families of generators, and the place among them of each wrong completion's, -1 for none."""
    names = sorted({name for name in benchmark.families.ravel() if name is not None})
    place = {name: code for code, name in enumerate(names)} | {None: -1}
    codes = np.array([place[name] for name in benchmark.families.ravel()], np.int64).reshape(benchmark.families.shape)
    return names, np.where(benchmark.items.is_wrong, codes, -1)


def _mean_of(ranks: Floats) -> Floats:
    """Mean over rewards, NaN where none has a rank. ranks: (rewards, items, completions)"""
    known = ~np.isnan(ranks)
    n = known.sum(axis=0)
    return np.divide(np.where(known, ranks, 0).sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)

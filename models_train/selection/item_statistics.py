"""Statistics over the items of a benchmark (definitions, Section 12): resamples, paired comparisons, shared errors.

Items are resampled with replacement within their subset, all rewards on them together, by one matrix of counts whose
first row is the sample itself: every resampled figure is a product with it. A reward that lacks an item lacks it in
every resample, and two rewards are compared on the items of both.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models_train.selection.item_metrics import Flags, Floats, Names

Places = NDArray[np.intp]

MIN_ITEMS = 8
"""Fewest items behind an interval or a test."""
MIN_REWARDS = 4
"""Fewest rewards behind an interval over rewards."""
LEVEL = 0.95
FEW_ITEMS = f"fewer than {MIN_ITEMS} items"
FEW_REWARDS = f"fewer than {MIN_REWARDS} rewards"


def seed_of(*names: str) -> int:
    """Seed from names: equal names, equal resamples."""
    return zlib.crc32("/".join(names).encode())


def resample_counts(strata: NDArray[np.generic], resamples: int, seed: int) -> Floats:
    """How often each item is in the sample (row 0: once) and in every resample: (1 + resamples, items).

    strata: (items,), items are drawn within theirs.
    """
    generator = np.random.default_rng(seed)
    counts = np.ones((1 + resamples, strata.size))
    for name in np.unique(strata):
        places = np.flatnonzero(strata == name)
        n = places.size
        drawn = generator.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
        counts[1:, places] = np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n)
    return counts


def interval(resampled: Floats) -> tuple[Floats, Floats]:
    """Ends of the percentile interval over the resamples: the last axis without its first entry, the sample itself."""
    drawn = resampled[..., 1:]
    is_unknown = np.isnan(drawn)
    is_drawn = ~is_unknown.all(axis=-1)
    pick = np.nanquantile if is_unknown.any() else np.quantile
    ends = np.full((2, *drawn.shape[:-1]), np.nan)
    levels = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends[:, is_drawn] = pick(drawn[is_drawn], levels, axis=-1, overwrite_input=True)
    return ends[0], ends[1]


def holm(p_values: Floats) -> Floats:
    """Holm's adjusted p values; NaN are not among the tests. (tests,)"""
    found = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    steps = p_values[order] * np.arange(order.size, 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if order.size else steps
    return found


def mcnemar_p(only_a: NDArray[np.int64], only_b: NDArray[np.int64]) -> Floats:
    """Two-sided exact p that of the items which one of the two wins each wins as many."""
    return np.asarray(np.minimum(2 * stats.binom.cdf(np.minimum(only_a, only_b), only_a + only_b, 0.5), 1.0))


def pair_sums(counts: Floats, values: Floats, scored: Flags, a: Places, b: Places) -> tuple[Floats, Floats]:
    """Resampled sums of the values of the first and of the second reward over the items of both: (pairs, resamples).

    counts: (resamples, items); values: (items, rewards), 0 where not scored; scored: the same; a, b: rewards of each
    pair.
    """
    masks: dict[bytes, int] = {}
    mask_of = np.array([masks.setdefault(mask.tobytes(), len(masks)) for mask in scored.T])
    whole = values.T @ counts.T
    sums = np.empty((len(masks), *whole.shape))
    for place, mask in enumerate(np.frombuffer(mask, bool) for mask in masks):
        # Over the items that are there, or all less those that are not: whichever are fewer.
        few = mask if 2 * mask.sum() < mask.size else ~mask
        part = values[few].T @ counts[:, few].T
        sums[place] = part if few is mask else whole - part
    return sums[mask_of[b], a], sums[mask_of[a], b]


@dataclass(frozen=True)
class Strata:
    """How values of items make the benchmark's figure. Each: one entry per subset.

    parts: what the figure is the plain mean of; weights: of the subset in its part, NaN: its number of items.
    """

    subsets: Names
    parts: Names
    weights: Floats


@dataclass(frozen=True)
class Comparison:
    """Pairs of rewards on one subset, or on the whole benchmark (subset None), on the items of both. Arrays: (pairs,).

    only_a, only_b: items that only one of the two wins, None where values are not 0 or 1.
    """

    subset: str | None
    n: NDArray[np.int64]
    value_a: Floats
    value_b: Floats
    difference: Floats
    low: Floats
    high: Floats
    only_a: NDArray[np.int64] | None
    only_b: NDArray[np.int64] | None
    p_value: Floats
    method: str


def compare(
    values: Floats, subsets: Names, strata: Strata, a: Places, b: Places, resamples: int, seed: int
) -> list[Comparison]:
    """Every pair of rewards on the items of both: on the whole benchmark, then by subset.

    values: (items, rewards), 0 to 1, NaN where a reward has none; a, b: rewards of each pair. Values of 0 and 1 are
    tested by McNemar's exact test, others and weighted means by the paired bootstrap: its interval is the percentile
    one, its p that of a normal difference with the bootstrap's standard error.
    """
    filled = np.nan_to_num(values)
    counts = resample_counts(subsets, resamples, seed)
    by_subset = [
        _Differences.of(filled[rows], ~np.isnan(values[rows]), a, b, counts[:, rows])
        for rows in (subsets == name for name in strata.subsets)
    ]
    is_binary = bool(np.isin(filled, (0.0, 1.0)).all())
    is_weighted = bool((~np.isnan(strata.weights)).any() or len(set(strata.parts)) > 1)
    whole = _Differences.sum(by_subset, _shares(strata, np.array([found.n for found in by_subset])))
    return [
        whole.comparison(None, is_binary and not is_weighted),
        *(found.comparison(str(name), is_binary) for name, found in zip(strata.subsets, by_subset, strict=True)),
    ]


def _shares(strata: Strata, n: NDArray[np.int64]) -> Floats:
    """Share of each subset in the figure. n: (subsets, pairs), items of both rewards; so is the result."""
    weights = np.where(np.isnan(strata.weights)[:, None], n, strata.weights[:, None] * (n > 0))
    shares = np.zeros(n.shape)
    for part in set(strata.parts):
        rows = strata.parts == part
        shares[rows] = _divided(weights[rows], weights[rows].sum(axis=0))
    shares = np.nan_to_num(shares)
    return _divided(shares, shares.sum(axis=0))


@dataclass(frozen=True)
class _Differences:
    """Means of both rewards of each pair, (pairs,), and their resampled difference, (pairs, 1 + resamples)."""

    n: NDArray[np.int64]
    mean_a: Floats
    mean_b: Floats
    resampled: Floats
    only_a: NDArray[np.int64]
    only_b: NDArray[np.int64]

    @classmethod
    def of(cls, values: Floats, scored: Flags, a: Places, b: Places, counts: Floats) -> _Differences:
        """Of one subset. values: (items, rewards), 0 where not scored; scored: the same; counts: (.., items)."""
        is_there = scored.astype(float)
        n = np.rint((is_there.T @ is_there)[a, b]).astype(np.int64)
        sums, both = values.T @ is_there, values.T @ values
        mean_a, mean_b = _divided(sums[a, b], n), _divided(sums[b, a], n)
        only = np.rint(sums - both).astype(np.int64)
        return cls(n, mean_a, mean_b, _resampled(values, scored, a, b, counts), only[a, b], only[b, a])

    @classmethod
    def sum(cls, parts: Sequence[_Differences], shares: Floats) -> _Differences:
        """Of subsets with shares, (subsets, pairs)."""

        def weighted(values: Sequence[Floats]) -> Floats:
            total = np.zeros(values[0].shape)
            for share, value in zip(shares, values, strict=True):
                # A subset without shared items has share 0, and no mean.
                known = value if (share > 0).all() else np.nan_to_num(value)
                total += known * share.reshape(-1, *[1] * (value.ndim - 1))
            return total

        return cls(
            np.sum([part.n for part in parts], axis=0),
            weighted([part.mean_a for part in parts]),
            weighted([part.mean_b for part in parts]),
            weighted([part.resampled for part in parts]),
            np.sum([part.only_a for part in parts], axis=0),
            np.sum([part.only_b for part in parts], axis=0),
        )

    def comparison(self, subset: str | None, is_exact: bool) -> Comparison:
        """With interval and p, which fewer than MIN_ITEMS items do not have. is_exact: by McNemar's test."""
        difference, enough = self.mean_a - self.mean_b, self.n >= MIN_ITEMS
        low, high = (np.where(enough, end, np.nan) for end in interval(self.resampled))
        p_value = mcnemar_p(self.only_a, self.only_b) if is_exact else self._normal_p(difference)
        return Comparison(
            subset,
            self.n,
            self.mean_a,
            self.mean_b,
            difference,
            low,
            high,
            self.only_a if is_exact else None,
            self.only_b if is_exact else None,
            np.where(enough, p_value, np.nan),
            "McNemar, exact" if is_exact else "paired bootstrap",
        )

    def _normal_p(self, difference: Floats) -> Floats:
        error = self.resampled[:, 1:].std(axis=1, ddof=1)
        is_constant = ~(error > 1e-12)  # equal on every item, or apart by the same on every one
        p_value = 2 * stats.norm.sf(np.abs(_divided(difference, np.where(is_constant, 0.0, error))))
        return np.where(is_constant, np.where(np.abs(difference) <= 1e-12, 1.0, np.nan), p_value)


def _resampled(values: Floats, scored: Flags, a: Places, b: Places, counts: Floats) -> Floats:
    """Differences of the means of both over the items of both, in every resample: (pairs, 1 + resamples)."""
    if scored.all():
        means = values.T @ counts.T / max(len(values), 1)
        return np.asarray(means[a] - means[b])
    numbers, _ = pair_sums(counts, scored.astype(float), scored, a, b)
    sums_a, sums_b = pair_sums(counts, values, scored, a, b)
    # A resample without an item of both takes the sample's own difference.
    found = _divided(sums_a - sums_b, numbers)
    return np.where(numbers > 0, found, found[:, :1])


def _divided(sums: Floats, numbers: Floats) -> Floats:
    """sums / numbers, NaN where a number is 0."""
    shape = np.broadcast_shapes(np.shape(sums), np.shape(numbers))
    return np.divide(sums, numbers, out=np.full(shape, np.nan), where=np.asarray(numbers) > 0)


@dataclass(frozen=True)
class ErrorCorrelations:
    """Errors that pairs of rewards share. phi: (pairs, 1 + resamples), the sample first; others: (pairs,), shares."""

    n: NDArray[np.int64]
    error_a: Floats
    error_b: Floats
    both: Floats
    phi: Floats


def error_correlations(
    errors: Floats, n_pairs: Floats, a: Places, b: Places, joint: Floats, counts: Floats
) -> ErrorCorrelations:
    """Phi coefficient of the error indicators of pairs of rewards, over the items of both, items resampled whole.

    errors: (items, rewards), errors among the item's pairs of completions; n_pairs: the same, pairs of an item that a
    reward has, none or all of the item's; joint: (items, pairs), errors that both make; a, b: rewards of each pair;
    counts: (1 + resamples, items).
    """
    scored = n_pairs > 0
    number, _ = pair_sums(counts, n_pairs, scored, a, b)
    wrong_a, wrong_b = pair_sums(counts, errors, scored, a, b)
    both = joint.T @ counts.T
    spread = np.sqrt(wrong_a * (number - wrong_a) * wrong_b * (number - wrong_b))
    phi = np.divide(number * both - wrong_a * wrong_b, spread, out=np.full(spread.shape, np.nan), where=spread > 0)
    first = number[:, 0]
    return ErrorCorrelations(
        np.rint(first).astype(np.int64),
        _divided(wrong_a[:, 0], first),
        _divided(wrong_b[:, 0], first),
        _divided(both[:, 0], first),
        phi,
    )


@dataclass(frozen=True)
class Herding:
    """Mean phi of a class of pairs of rewards; its interval over items and rewards, NaN with the reason."""

    mean_phi: float
    low: float
    high: float
    n_rewards: int
    n_pairs: int
    reason: str | None


def herding(phi: Floats, a: Places, b: Places, members: Flags, n_items: int, seed: int) -> Herding:
    """Mean of phi over the pairs `members` of all pairs, with rewards resampled beside the items of phi's resamples.

    phi: (pairs, 1 + resamples); members: (pairs,). In a resample of rewards a pair counts as often as the product of
    how often its two are drawn.
    """
    known = members & ~np.isnan(phi[:, 0])
    rewards = np.union1d(a[known], b[known])
    sample = float(phi[known, 0].mean()) if known.any() else float("nan")
    few = FEW_ITEMS if n_items < MIN_ITEMS else FEW_REWARDS if rewards.size < MIN_REWARDS else None
    if few or not known.any():
        reason = few if known.any() else "no pair with errors of both"
        return Herding(sample, float("nan"), float("nan"), rewards.size, int(known.sum()), reason)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(rewards.size, np.full(rewards.size, 1 / rewards.size), size=phi.shape[1] - 1).T
    weights = drawn[np.searchsorted(rewards, a[known])] * drawn[np.searchsorted(rewards, b[known])]
    values = phi[known, 1:]
    usable = ~np.isnan(values)
    sums = (np.where(usable, values, 0.0) * weights).sum(axis=0)
    means = _divided(sums, (usable * weights).sum(axis=0).astype(float))
    low, high = interval(np.concatenate([[sample], means]))
    return Herding(sample, float(low), float(high), rewards.size, int(known.sum()), None)


def ranks_from_best(values: Floats) -> Floats:
    """Rank of each column within its row, 1 for the highest; equal ones share the mean. NaN has none. (..., n)"""
    found = np.full(values.shape, np.nan)
    for place in range(values.shape[-1]):
        own = values[..., place : place + 1]
        above, equal = (values > own).sum(axis=-1), (values == own).sum(axis=-1)
        found[..., place] = np.where(np.isnan(own[..., 0]), np.nan, 1 + above + (equal - 1) / 2)
    return found


def variance_shares(rewards: Floats, scored: Flags, counts: Floats) -> dict[str, Floats]:
    """Spread of rewards within and between items, for the sample and every resample: name -> (1 + resamples, rewards).

    rewards: (items, completions, rewards), NaN where an item has fewer completions; scored: (items, rewards); counts:
    (1 + resamples, items). reward_variance: mean variance within an item over the variance of all rewards, both ddof 1,
    as of rewards that are whitened in every resample; NaN where a reward does not vary.
    """
    known = ~np.isnan(rewards) & scored[:, None, :]
    n = known.sum(axis=1).astype(float)
    # Against cancellation; no figure depends on the origin.
    centred = np.where(known, rewards - _divided(np.where(known, rewards, 0).sum(axis=(0, 1)), n.sum(axis=0)), 0.0)
    means = np.where(scored, _divided(centred.sum(axis=1), n), 0.0)
    squares = np.square(centred).sum(axis=1)
    within = np.where(scored, _divided(squares - n * means**2, n - 1), 0.0)
    items, number = counts @ scored.astype(float), counts @ n
    mean = _divided(counts @ (n * means), number)
    total = _divided(counts @ squares - number * mean**2, number - 1)
    inside, average = _divided(counts @ within, items), _divided(counts @ means, items)
    between = _divided(counts @ means**2 - items * average**2, items - 1)
    least = 1e-12 * np.square(np.where(known, np.abs(rewards), 0).max(axis=(0, 1)))
    share = np.divide(inside, total, out=np.full(total.shape, np.nan), where=total > least)
    return {"reward_variance": share, "within_variance_raw": inside, "between_variance_raw": between}

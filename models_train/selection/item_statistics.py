"""Statistics over the items of a benchmark (definitions, Section 12): resamples, paired comparisons, shared errors.

Items are resampled with replacement within their subset, all rewards on them together, by one matrix of counts whose
first row is the sample itself: every resampled figure is a product with it. A reward that lacks an item lacks it in
every resample, and two rewards are compared on the items of both.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from models_train.selection.item_metrics import Flags, Floats, Names

Places = NDArray[np.intp]
Counts = NDArray[np.float32]
"""How often each item is in the sample and in every resample: (1 + resamples, items), whole numbers."""

MIN_ITEMS = 8
"""Fewest items behind an interval or a test."""
MIN_REWARDS = 4
"""Fewest rewards behind an interval over rewards."""
LEVEL = 0.95
FEW_ITEMS = f"fewer than {MIN_ITEMS} items"
FEW_REWARDS = f"fewer than {MIN_REWARDS} rewards"
BLOCK = 64
"""Pairs of rewards, or resamples, at a time: what is computed of them stays in the processor's cache."""


def seed_of(*names: str) -> int:
    """Seed from names: equal names, equal resamples."""
    return zlib.crc32("/".join(names).encode())


def blocks(n: int) -> Iterator[slice]:
    """The numbers 0 to n - 1, some at a time."""
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def resample_counts(strata: NDArray[np.generic], resamples: int, seed: int) -> Counts:
    """How often each item is in the sample (row 0: once) and in every resample: (1 + resamples, items).

    strata: (items,), items are drawn within theirs.
    """
    generator = np.random.default_rng(seed)
    counts = np.ones((1 + resamples, strata.size), np.float32)
    for name in np.unique(strata):
        places = np.flatnonzero(strata == name)
        n = places.size
        for rows in blocks(resamples):
            height = rows.stop - rows.start
            drawn = generator.integers(n, size=(height, n)) + n * np.arange(height)[:, None]
            counts[1:][rows, places] = np.bincount(drawn.ravel(), minlength=height * n).reshape(height, n)
    return counts


def resampled_sums(counts: Counts, values: Floats) -> Floats:
    """Sums over the items in every resample: (columns, 1 + resamples). values: (items, columns).

    Whole numbers are summed in single precision, which holds them exactly up to 2^24 and takes half of the time.
    """
    largest = np.abs(values).max(initial=0) * len(values)
    if largest < 2**24 and np.array_equal(values, np.rint(values)):
        return (values.T.astype(np.float32) @ counts.T).astype(np.float64)
    sums = np.empty((values.shape[1], len(counts)))
    for rows in blocks(len(counts)):
        sums[:, rows] = values.T @ counts[rows].T.astype(np.float64)
    return sums


def interval(resampled: Floats) -> tuple[Floats, Floats]:
    """Ends of the percentile interval over the resamples: the last axis without its first entry, the sample itself."""
    drawn = resampled[..., 1:]
    levels = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    ends = np.quantile(drawn, levels, axis=-1)
    has_gaps = np.isnan(ends[0]) & ~np.isnan(drawn).all(axis=-1)
    if has_gaps.any():
        # Over the resamples that are known.
        ends[:, has_gaps] = np.nanquantile(drawn[has_gaps], levels, axis=-1)
    return ends[0], ends[1]


def holm(p_values: Floats) -> Floats:
    """Holm's adjusted p values of the tests in each column; NaN are not among the tests. (tests, ...)"""
    order = np.argsort(p_values, axis=0, kind="stable")  # NaN last
    steps = np.arange(len(p_values)).reshape(-1, *[1] * (p_values.ndim - 1))
    factors = (~np.isnan(p_values)).sum(axis=0) - steps
    adjusted = np.maximum.accumulate(np.take_along_axis(p_values, order, axis=0) * factors, axis=0)
    found = np.empty(p_values.shape)
    np.put_along_axis(found, order, np.minimum(adjusted, 1.0), axis=0)
    return found


def mcnemar_p(only_a: NDArray[np.int64], only_b: NDArray[np.int64]) -> Floats:
    """Two-sided exact p that of the items which one of the two wins each wins as many."""
    fewer, more = np.minimum(only_a, only_b), np.maximum(only_a, only_b)
    # The incomplete beta function is the binomial distribution's, and loads in a third of the time of scipy.stats.
    return np.asarray(np.minimum(2 * special.betainc(more, fewer + 1, 0.5), 1.0))


@dataclass(frozen=True)
class SharedSums:
    """Resampled sums of the values of each reward over the items that it shares with another one.

    sums: (sets, rewards, 1 + resamples), over each distinct set of items that a reward has; set_of: (rewards,).
    """

    sums: Floats
    set_of: Places

    @classmethod
    def of(cls, counts: Counts, values: Floats, scored: Flags) -> SharedSums:
        """values: (items, rewards), 0 where not scored; scored: the same."""
        numbers: dict[bytes, int] = {}
        set_of = np.array([numbers.setdefault(has_it.tobytes(), len(numbers)) for has_it in scored.T])
        whole = resampled_sums(counts, values)
        sums = np.empty((len(numbers), *whole.shape))
        for place, has_it in enumerate(np.frombuffer(one, bool) for one in numbers):
            # Over the items that are there, or all less those that are not: whichever are fewer.
            few = has_it if 2 * has_it.sum() < has_it.size else ~has_it
            part = resampled_sums(counts[:, few], values[few])
            sums[place] = part if few is has_it else whole - part
        return cls(sums, set_of)

    def of_first(self, a: Places, b: Places) -> Floats:
        """Sums of the values of the first reward of each pair over the items of both: (pairs, 1 + resamples)."""
        return self.sums[self.set_of[b], a]


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
    filled, scored = np.nan_to_num(values), ~np.isnan(values)
    counts = resample_counts(subsets, resamples, seed)
    rows_of = [subsets == name for name in strata.subsets]
    samples = [_Sample.of(filled[rows], scored[rows], a, b) for rows in rows_of]
    shares = _shares(strata, np.array([sample.n for sample in samples]))
    whole = np.zeros((a.size, 1 + resamples))
    spreads = []
    for rows, share in zip(rows_of, shares, strict=True):
        differences = _Differences.of(filled[rows], scored[rows], counts[:, rows])
        parts = []
        for pairs in blocks(a.size):
            resampled = differences.of_pairs(a[pairs], b[pairs])
            whole[pairs] += share[pairs, None] * resampled
            parts.append(_spread(resampled))
        spreads.append(np.concatenate(parts, axis=1))
    is_binary = bool(np.isin(filled, (0.0, 1.0)).all())
    is_weighted = bool((~np.isnan(strata.weights)).any() or len(set(strata.parts)) > 1)
    return [
        _Sample.sum(samples, shares).comparison(None, _spread(whole), is_binary and not is_weighted),
        *(
            sample.comparison(str(name), spread, is_binary)
            for name, sample, spread in zip(strata.subsets, samples, spreads, strict=True)
        ),
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
class _Sample:
    """Means of both rewards of each pair on the items of both, and items that only one wins. Arrays: (pairs,)."""

    n: NDArray[np.int64]
    mean_a: Floats
    mean_b: Floats
    only_a: NDArray[np.int64]
    only_b: NDArray[np.int64]

    @classmethod
    def of(cls, values: Floats, scored: Flags, a: Places, b: Places) -> _Sample:
        """Of one subset. values: (items, rewards), 0 where not scored; scored: the same."""
        is_there = scored.astype(float)
        n = np.rint((is_there.T @ is_there)[a, b]).astype(np.int64)
        sums, both = values.T @ is_there, values.T @ values
        only = np.rint(sums - both).astype(np.int64)
        return cls(n, _divided(sums[a, b], n), _divided(sums[b, a], n), only[a, b], only[b, a])

    @classmethod
    def sum(cls, samples: Sequence[_Sample], shares: Floats) -> _Sample:
        """Of subsets with shares, (subsets, pairs). A subset without shared items has share 0, and no mean."""
        n, only_a, only_b = (
            np.sum([getattr(one, name) for one in samples], axis=0) for name in ("n", "only_a", "only_b")
        )
        means = [np.array([one.mean_a for one in samples]), np.array([one.mean_b for one in samples])]
        mean_a, mean_b = (np.sum(shares * np.where(shares > 0, side, 0.0), axis=0) for side in means)
        return cls(n, mean_a, mean_b, only_a, only_b)

    def comparison(self, subset: str | None, spread: Floats, is_exact: bool) -> Comparison:
        """With interval and p, which fewer than MIN_ITEMS items do not have.

        spread: as `_spread` returns it; is_exact: by McNemar's test.
        """
        difference, enough = self.mean_a - self.mean_b, self.n >= MIN_ITEMS
        low, high, error = spread
        p_value = mcnemar_p(self.only_a, self.only_b) if is_exact else _normal_p(difference, error)
        return Comparison(
            subset,
            self.n,
            self.mean_a,
            self.mean_b,
            difference,
            np.where(enough, low, np.nan),
            np.where(enough, high, np.nan),
            self.only_a if is_exact else None,
            self.only_b if is_exact else None,
            np.where(enough, p_value, np.nan),
            "McNemar, exact" if is_exact else "paired bootstrap",
        )


def _normal_p(difference: Floats, error: Floats) -> Floats:
    """Two-sided p of a normal difference with its standard error; NaN for one that does not vary and is not 0."""
    is_constant = ~(error > 1e-12)  # equal on every item, or apart by the same on every one
    p_value = 2 * special.ndtr(-np.abs(_divided(difference, np.where(is_constant, 0.0, error))))
    return np.where(is_constant, np.where(np.abs(difference) <= 1e-12, 1.0, np.nan), p_value)


@dataclass(frozen=True)
class _Differences:
    """Resampled differences of rewards on one subset: sums of values, and numbers of items, of each pair."""

    sums: SharedSums
    numbers: SharedSums

    @classmethod
    def of(cls, values: Floats, scored: Flags, counts: Counts) -> _Differences:
        """values: (items, rewards), 0 where not scored; scored: the same; counts: (1 + resamples, items)."""
        return cls(SharedSums.of(counts, values, scored), SharedSums.of(counts, scored.astype(float), scored))

    def of_pairs(self, a: Places, b: Places) -> Floats:
        """Differences of the means over the items of both, 0 for a pair without any: (pairs, 1 + resamples)."""
        sums, numbers = self.sums.of_first(a, b) - self.sums.of_first(b, a), self.numbers.of_first(a, b)
        if numbers.all():
            return sums / numbers
        sample = np.nan_to_num(_divided(sums[:, :1], numbers[:, :1]))
        # A resample without an item of both takes the sample's own difference.
        return np.divide(sums, numbers, out=np.broadcast_to(sample, sums.shape).copy(), where=numbers > 0)


def _spread(resampled: Floats) -> Floats:
    """Ends of the interval and standard error of resampled differences, (pairs, 1 + resamples): (3, pairs)."""
    return np.stack([*interval(resampled), resampled[:, 1:].std(axis=1, ddof=1)])


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


def error_correlations(wrong: Flags, n_pairs: Floats, a: Places, b: Places, counts: Counts) -> ErrorCorrelations:
    """Phi coefficient of the error indicators of pairs of rewards, over the items of both, items resampled whole.

    wrong: (rewards, items, most pairs of completions of an item), whether a reward errs; n_pairs: (items, rewards),
    pairs of completions of an item that a reward has, none or all of the item's; a, b: rewards of each pair; counts:
    (1 + resamples, items).
    """
    scored = n_pairs > 0
    errors = wrong.sum(axis=2).T.astype(float)
    numbers, wrongs = SharedSums.of(counts, n_pairs, scored), SharedSums.of(counts, errors, scored)
    # Items last: a sum over the few pairs of completions is then one of long rows.
    indicators = np.ascontiguousarray(np.moveaxis(wrong, 2, 1), np.float32)
    phi, sample = np.empty((a.size, len(counts))), np.empty((4, a.size))
    for pairs in blocks(a.size):
        one, other = a[pairs], b[pairs]
        joint = (indicators[one] * indicators[other]).sum(axis=1)
        both = (joint @ counts.T).astype(np.float64)
        sums = numbers.of_first(one, other), wrongs.of_first(one, other), wrongs.of_first(other, one), both
        phi[pairs] = _phi(*sums)
        sample[:, pairs] = [each[:, 0] for each in sums]
    n = sample[0]
    error_a, error_b, both_wrong = (_divided(number, n) for number in sample[1:])
    return ErrorCorrelations(np.rint(n).astype(np.int64), error_a, error_b, both_wrong, phi)


def _phi(number: Floats, wrong_a: Floats, wrong_b: Floats, both: Floats) -> Floats:
    """Phi coefficient of two indicators from numbers of cases: all, those of either, those of both."""
    spread = np.sqrt(wrong_a * (number - wrong_a) * wrong_b * (number - wrong_b))
    return np.divide(number * both - wrong_a * wrong_b, spread, out=np.full(spread.shape, np.nan), where=spread > 0)


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
    drawn = generator.multinomial(rewards.size, np.full(rewards.size, 1 / rewards.size), size=phi.shape[1] - 1)
    times = drawn.T.astype(float)
    pairs = np.flatnonzero(known)
    sums, weight = np.zeros((2, phi.shape[1] - 1))
    for some in (pairs[rows] for rows in blocks(pairs.size)):
        weights = times[np.searchsorted(rewards, a[some])] * times[np.searchsorted(rewards, b[some])]
        values = phi[some, 1:]
        usable = ~np.isnan(values)
        sums += (np.where(usable, values, 0.0) * weights).sum(axis=0)
        weight += (usable * weights).sum(axis=0)
    low, high = interval(np.concatenate([[sample], _divided(sums, weight)]))
    return Herding(sample, float(low), float(high), rewards.size, int(known.sum()), None)


def ranks_from_best(values: Floats) -> Floats:
    """Rank of each column within its row, 1 for the highest; equal ones share the mean. NaN has none. (..., n)"""
    found = np.full(values.shape, np.nan)
    for place in range(values.shape[-1]):
        own = values[..., place : place + 1]
        above, equal = (values > own).sum(axis=-1), (values == own).sum(axis=-1)
        found[..., place] = np.where(np.isnan(own[..., 0]), np.nan, 1 + above + (equal - 1) / 2)
    return found


def variance_shares(rewards: Floats, scored: Flags, counts: Counts) -> dict[str, Floats]:
    """Spread of rewards within and between items, for the sample and every resample: name -> (rewards, 1 + resamples).

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
    items, number = _sums_of(counts, scored.astype(float), n)
    squared, summed, inner, averaged, averaged_squared = _sums_of(counts, squares, n * means, within, means, means**2)
    mean = _divided(summed, number)
    total = _divided(squared - number * mean**2, number - 1)
    inside, average = _divided(inner, items), _divided(averaged, items)
    between = _divided(averaged_squared - items * average**2, items - 1)
    least = 1e-14 * np.square(np.where(known, np.abs(rewards), 0).max(axis=(0, 1)))
    share = np.divide(inside, total, out=np.full(total.shape, np.nan), where=total > least[:, None])
    return {"reward_variance": share, "within_variance_raw": inside, "between_variance_raw": between}


def _sums_of(counts: Counts, *values: Floats) -> Floats:
    """Resampled sums of several values of the same rewards by one product: (values, rewards, 1 + resamples)."""
    return resampled_sums(counts, np.concatenate(values, axis=1)).reshape(len(values), -1, len(counts))

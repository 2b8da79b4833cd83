"""Entropies of many mixtures of two histograms: the compiled loops under the intervals and null floors of distances."""

from __future__ import annotations

import numba
import numpy as np

from models_train.mix.binomials import fill_binomial
from models_train.mix.compiling import ANY_ORDER, COMPILED

_SMALLEST = np.finfo(np.float64).tiny
_MANTISSA = np.int64(52)
_ROOT_HALF_BITS = np.int64(np.float64(np.sqrt(0.5)).view(np.int64))
# 2 / ln 2 / (2 k + 1), k = 0 to 10: log2((1 + s) / (1 - s)) = s (c0 + c1 s^2 + ...); for |s| < 0.172 what is left out
# is below 1e-17.
_SERIES = tuple(2 / np.log(2) / (2 * k + 1) for k in range(11))
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10 = _SERIES


@numba.njit(inline="always", **COMPILED)
def log2(x: float) -> float:
    """Binary logarithm of a normal positive number, to 1e-15; a loop over it runs in vector registers."""
    bits = np.float64(x).view(np.int64)
    exponent = (bits - _ROOT_HALF_BITS) >> _MANTISSA
    m = np.int64(bits - (exponent << _MANTISSA)).view(np.float64)  # sqrt(1/2) <= m < sqrt(2)
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    high = _C5 + t * (_C6 + t * (_C7 + t * (_C8 + t * (_C9 + t * _C10))))
    return np.float64(exponent) + s * (_C0 + t * (_C1 + t * (_C2 + t * (_C3 + t * (_C4 + t * high)))))


@numba.njit(inline="always", **COMPILED)
def _term(share: float) -> float:
    return share * log2(max(share, _SMALLEST))


@numba.njit(fastmath=set(ANY_ORDER), **COMPILED)
def entropy(shares: np.ndarray) -> float:
    """Shannon entropy (bins,), base 2; empty bins add nothing."""
    total = 0.0
    for bin_ in range(shares.size):
        total += _term(shares[bin_])
    return -total


@numba.njit(fastmath=set(ANY_ORDER), **COMPILED)
def mixture_entropy(one: np.ndarray, other: np.ndarray) -> float:
    """Shannon entropy of the mean of two histograms (bins,), base 2."""
    total = 0.0
    for bin_ in range(one.size):
        total += _term((one[bin_] + other[bin_]) * 0.5)
    return -total


@numba.njit(**COMPILED)
def pairwise_divergences(shares: np.ndarray, found: np.ndarray) -> None:
    """Jensen-Shannon divergence of every pair of models in every resample, into found (pairs, resamples).

    shares: (resamples, models, bins); the entropies of a resample stay in the cache while its pairs are worked on.
    """
    n_resamples, n_models, _ = shares.shape
    own = np.empty(n_models)
    for resample in range(n_resamples):
        rows = shares[resample]
        for model in range(n_models):
            own[model] = entropy(rows[model])
        pair = 0
        for a in range(n_models):
            for b in range(a + 1, n_models):
                found[pair, resample] = mixture_entropy(rows[a], rows[b]) - (own[a] + own[b]) * 0.5
                pair += 1


@numba.njit(**COMPILED)
def chance_distances(counts: np.ndarray, streams: np.ndarray, n_draws: int, found: np.ndarray) -> None:
    """Mean distance of every pair when chance puts each of their documents on a side, into found (pairs,).

    counts: (models, bins) int64; streams: (pairs + models,) uint64, where the random numbers of each begin. NaN where
    every draw leaves a side empty.

    Where both sides are equally large each document comes to the first one with odds 1/2, whatever the pair: a model's
    own documents are then drawn once, and the pooled count is the sum of the two models' draws.
    """
    n_models, n_bins = counts.shape
    sizes, tossed = counts.sum(axis=1), np.empty((n_models, n_draws, n_bins), np.int64)
    for model in range(n_models):
        _draw(streams[found.size + model], counts[model], 0.5, tossed[model])
    drawn = np.empty((n_draws, n_bins), np.int64)
    pair = 0
    for a in range(n_models):
        for b in range(a + 1, n_models):
            pooled = counts[a] + counts[b]
            if sizes[a] == sizes[b]:
                drawn[:] = tossed[a] + tossed[b]
            else:
                _draw(streams[pair], pooled, sizes[a] / (sizes[a] + sizes[b]), drawn)
            found[pair] = _mean_distance(pooled, drawn)
            pair += 1


@numba.njit(**COMPILED)
def _draw(start: int, counts: np.ndarray, odds: float, drawn: np.ndarray) -> None:
    """Documents that come to the first side, bin by bin, into drawn (draws, bins)."""
    stream, one_bin = np.array([start], np.uint64), np.empty(len(drawn), np.int64)
    for bin_ in range(counts.size):
        fill_binomial(stream, counts[bin_], odds, one_bin)
        drawn[:, bin_] = one_bin


@numba.njit(**COMPILED)
def _mean_distance(pooled: np.ndarray, drawn: np.ndarray) -> float:
    """Between the drawn documents and the rest, over the draws that leave some of both."""
    total, known, size = 0.0, 0, pooled.sum()
    left, right = np.empty(pooled.size), np.empty(pooled.size)
    for draw in range(len(drawn)):
        n_left = drawn[draw].sum()
        if 0 < n_left < size:
            for bin_ in range(pooled.size):
                left[bin_] = drawn[draw, bin_] / n_left
                right[bin_] = (pooled[bin_] - drawn[draw, bin_]) / (size - n_left)
            divergence = mixture_entropy(left, right) - (entropy(left) + entropy(right)) * 0.5
            # Rounding may leave -1e-17 of nothing, or 1 + 2e-16 of sides without a bin in common.
            total += np.sqrt(min(max(divergence, 0.0), 1.0))
            known += 1
    return total / known if known else np.nan

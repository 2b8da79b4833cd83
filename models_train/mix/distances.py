"""Histograms on bins common to all models, and Jensen-Shannon distances between them (definitions, Section 8).

The plug-in distance of two samples is biased upwards: two samples of one distribution are never exactly alike. The
null floor is the size of that bias; the interval is corrected for it. Edges of the bins come from the scores of all
models together.
"""

from __future__ import annotations

import hashlib
from itertools import combinations
from typing import Literal

import numpy as np

from models_train.mix.samples import N_BLOCKS, Samples, numbers, ordinals

MIN_DOCUMENTS = 10_000
"""Fewest documents on a side; with fewer a distance is flagged."""
CONFIDENCE = 0.95
_SMALLEST = np.finfo(np.float64).tiny
Binning = Literal["quantile", "equal_width"]
BINNINGS: tuple[Binning, ...] = ("quantile", "equal_width")


def edges(samples: Samples, n_bins: int, binning: Binning) -> np.ndarray:
    """Edges (n_bins + 1,) of the bins, float32, from the smallest score of all to the largest.

    samples: one or more scores in all. quantile: pooled quantiles, interpolated linearly as NumPy does; where many
    documents have the same score neighbouring edges coincide, and a bin between them stays empty.
    """
    if binning == "equal_width":
        known = samples.spans[np.diff(samples.spans).ravel() > 0]
        low, high = samples.scores[known[:, 0]].min(), samples.scores[known[:, 1] - 1].max()
        return np.linspace(float(low), float(high), n_bins + 1).astype(np.float32)
    n = int(np.diff(samples.spans).sum())
    positions = np.linspace(0, n - 1, n_bins + 1)
    below = np.floor(positions).astype(np.int64)
    found = pooled_order_statistics(samples, np.concatenate([below, np.minimum(below + 1, n - 1)])).astype(np.float64)
    lower, upper = np.split(found, 2)
    return (lower + (positions - below) * (upper - lower)).astype(np.float32)


def pooled_order_statistics(samples: Samples, ranks: np.ndarray) -> np.ndarray:
    """The scores at the given ranks (from 0) of all samples together, float32, exactly, without merging them.

    Bisection over the float32 numbers themselves, of which there are 2^32, for all ranks at once: the smallest number
    that more than `rank` documents do not exceed.
    """
    known = samples.spans[np.diff(samples.spans).ravel() > 0]
    least, most = ordinals(np.array([samples.scores[known[:, 0]].min(), samples.scores[known[:, 1] - 1].max()]))
    low, high = np.full(ranks.size, least), np.full(ranks.size, most)
    while (low < high).any():
        middle = (low + high) >> 1
        limits = numbers(middle)
        at_most = sum(np.searchsorted(samples.scores[first:end], limits, side="right") for first, end in known)
        reached = at_most > ranks
        low, high = np.where(reached, low, np.minimum(middle + 1, high)), np.where(reached, middle, high)
    return numbers(high)


def counts(samples: Samples, bin_edges: np.ndarray) -> np.ndarray:
    """Documents (samples, bins) per bin [low, high), the last one closed."""
    inner = [np.searchsorted(samples.scores[first:end], bin_edges[1:-1], side="left") for first, end in samples.spans]
    sizes = np.diff(samples.spans)
    return np.diff(np.concatenate([np.zeros_like(sizes), np.array(inner), sizes], axis=1), axis=1)


def block_counts(samples: Samples, bin_edges: np.ndarray, models: list[str]) -> np.ndarray:
    """Documents (models, bins, N_BLOCKS) per bin and block, float64, of all samples of each model."""
    n_bins = bin_edges.size - 1
    found = np.zeros((len(models), n_bins * N_BLOCKS))
    for model, (first, end), in_bins in zip(samples.models, samples.spans, counts(samples, bin_edges), strict=True):
        cells = np.repeat(np.arange(n_bins) * N_BLOCKS, in_bins) + samples.blocks[first:end]
        found[models.index(model)] += np.bincount(cells, minlength=found.shape[1])
    return found.reshape(len(models), n_bins, N_BLOCKS)


def distances(counts: np.ndarray) -> np.ndarray:
    """Square root of the Jensen-Shannon divergence, base 2, of every pair, in the order of `pairs`.

    counts: (models, bins); each model needs a document. Returns (pairs,), each 0 to 1. The formula of SciPy's
    `jensenshannon`, which takes longer to import than this to run.
    """
    shares, found = _shares(counts), [np.empty(0)]
    for number, one in enumerate(shares[:-1]):
        others = shares[number + 1 :]
        middle = (one + others) / 2
        divergence = (_relative_entropy(one, middle) + _relative_entropy(others, middle)) / (2 * np.log(2))
        # Rounding may leave -1e-17 for equal histograms, whose root is not a number, or more than 1 for disjoint ones.
        found.append(np.sqrt(np.clip(divergence, 0, 1)))
    return np.concatenate(found)


def pairs(n_models: int) -> list[tuple[int, int]]:
    """Numbers of the models of every pair, the first below the second."""
    return list(combinations(range(n_models), 2))


def null_floors(counts: np.ndarray, n_permutations: int, seed: str) -> np.ndarray:
    """Mean distance of every pair when chance puts each of their documents on a side, (pairs,).

    A document comes to the first side with odds n_a : n_b, so the counts of a side are binomial draws bin by bin and
    no document has to be moved. Against a permutation, which keeps the sides' sizes to the document, this changes the
    mean by a share of 1 / (n_a + n_b), and it is many times faster. Pairs of equal sizes share the draws of a model's
    own documents: every floor has the distribution that it would have without the others, and those of one model go
    together. Draws that leave a side empty are passed over; NaN where all do.

    counts: (models, bins) int64; seed: any text, equal texts give equal floors.
    """
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
    sizes, found = counts.sum(axis=1), [np.empty(0)]
    # Draws of one bin follow each other: NumPy reuses its constants while n and the odds stay the same.
    shape = (*counts.shape, n_permutations)
    tossed = generator.binomial(counts[:, :, None], 0.5, shape)
    for one in range(len(counts) - 1):
        others = slice(one + 1, None)
        pooled, odds = counts[one] + counts[others], sizes[one] / (sizes[one] + sizes[others])
        drawn = tossed[one] + tossed[others]
        unequal = sizes[others] != sizes[one]
        drawn[unequal] = generator.binomial(
            pooled[unequal][:, :, None], odds[unequal][:, None, None], (int(unequal.sum()), *shape[1:])
        )
        divergences = _divergences(drawn, pooled[:, :, None] - drawn)
        known = ~np.isnan(divergences)
        # Rounding may leave -1e-17 of equal sides, or 1 + 2e-16 of sides without a bin in common.
        roots = np.sqrt(np.clip(divergences, 0, 1), out=np.zeros_like(divergences), where=known)
        with np.errstate(invalid="ignore"):
            found.append(roots.sum(axis=1) / known.sum(axis=1))
    return np.concatenate(found)


def block_weights(n_resamples: int, seed: int = 0) -> np.ndarray:
    """Number of draws of each block, (resamples, N_BLOCKS): as many draws as blocks, with replacement."""
    equal = np.full(N_BLOCKS, 1 / N_BLOCKS)
    return np.random.default_rng(seed).multinomial(N_BLOCKS, equal, n_resamples).astype(np.float64)


def resampled_divergences(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Divergence of every pair in every resample, (pairs, resamples); NaN where a side draws no document.

    counts: (models, bins, N_BLOCKS). A resample draws the same blocks for all models: paired where these share their
    documents. Blocks are random groups, so this is the bootstrap over documents, with N_BLOCKS - 1 degrees of freedom.
    """
    n_models, n_bins, _ = counts.shape
    drawn = weights @ counts.reshape(n_models * n_bins, N_BLOCKS).astype(np.float64, copy=False).T
    a, b = np.triu_indices(n_models, 1)
    found = np.empty((a.size, len(weights)))
    # One resample after another: its shares, and those of its pairs, stay in the processor's cache.
    for number, shares in enumerate(_shares(drawn.reshape(len(weights), n_models, n_bins))):
        own = _entropies(shares)
        found[:, number] = _entropies((shares[a] + shares[b]) / 2) - (own[a] + own[b]) / 2
    return found


def intervals(observed: np.ndarray, resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of every distance, corrected for bias.

    The basic bootstrap on the divergence, where the bias of the plug-in simply adds: a resample is as much above the
    sample as the sample is above the truth. So the interval may end below the plug-in distance where that is close to
    its floor. observed: distances (pairs,); resampled: divergences (pairs, resamples), NaN passed over.
    """
    tail = (1 - CONFIDENCE) / 2
    ordered = np.sort(resampled, axis=1)  # NaN last
    known = np.count_nonzero(~np.isnan(ordered), axis=1)
    low, high = (_quantile(ordered, known, share) for share in (tail, 1 - tail))
    unbiased = np.clip(2 * observed**2 - np.stack([high, low]), 0, 1)
    return np.sqrt(unbiased[0]), np.sqrt(unbiased[1])


def _quantile(ordered: np.ndarray, known: np.ndarray, share: float) -> np.ndarray:
    """Linear quantile of the first `known` numbers of each row, as NumPy's but many times as fast; NaN for none."""
    rows, places = np.arange(len(ordered)), share * np.maximum(known - 1, 0)
    below = places.astype(np.int64)
    above = np.minimum(below + 1, np.maximum(known - 1, 0))
    return ordered[rows, below] + (places - below) * (ordered[rows, above] - ordered[rows, below])


def _divergences(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence, base 2, of counts (pairs, bins, draws): (pairs, draws); NaN where a side is empty."""
    one, other = (_shares(np.swapaxes(side, 1, 2)) for side in (left, right))
    return _entropies((one + other) / 2) - (_entropies(one) + _entropies(other)) / 2


def _entropies(shares: np.ndarray) -> np.ndarray:
    """Shannon entropy, base 2, over the last axis; empty bins add nothing."""
    logarithms = np.maximum(shares, _SMALLEST)
    np.log2(logarithms, out=logarithms)
    return -np.vecdot(shares, logarithms)


def _relative_entropy(shares: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Sum of p ln(p / m) over the last axis; empty bins add nothing."""
    ratio = np.divide(shares, middle, out=np.ones_like(middle), where=shares > 0)
    return (shares * np.log(ratio)).sum(axis=-1)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts as shares of their sum over the last axis; NaN where that is 0."""
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=-1, keepdims=True)

"""Jensen-Shannon distances between histograms, with what chance alone would give and intervals (definitions 8).

The plug-in distance of two samples is biased upwards: two samples of one distribution are never exactly alike. The
null floor says how far apart; the interval takes the bias out.
"""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
from scipy.spatial.distance import jensenshannon

from models_train.mix.samples import N_BLOCKS

MIN_DOCUMENTS = 10_000
"""With fewer documents on a side a distance is flagged."""
CONFIDENCE = 0.95
_SMALLEST = np.finfo(np.float64).tiny


def distances(counts: np.ndarray) -> np.ndarray:
    """Square root of the Jensen-Shannon divergence, base 2, of every pair, in the order of `pairs`.

    counts: (models, bins); each model needs a document. Returns (pairs,), each 0 to 1.
    """
    rows = [jensenshannon(counts[a][None, :], counts[a + 1 :], base=2, axis=1) for a in range(len(counts) - 1)]
    # Rounding may leave a negative divergence of 1e-17 for equal histograms, whose root is not a number.
    return np.nan_to_num(np.concatenate(rows)) if rows else np.empty(0)


def pairs(n_models: int) -> list[tuple[int, int]]:
    """Numbers of the models of every pair, the first below the second."""
    return list(combinations(range(n_models), 2))


def null_floors(counts: np.ndarray, n_permutations: int, seed: str) -> np.ndarray:
    """Mean distance of every pair when chance puts each of their documents on a side, (pairs,).

    A document comes to the first side with odds n_a : n_b, so the counts of a side are binomial draws bin by bin and
    no document has to be moved. Against a permutation, which keeps the sides' sizes to the document, this changes the
    mean by a share of 1 / (n_a + n_b), and it is ten times faster. counts: (models, bins); seed: any text, equal texts
    give equal floors.
    """
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
    sizes, floors = counts.sum(axis=1), []
    for a in range(len(counts) - 1):
        pooled, odds = counts[a] + counts[a + 1 :], sizes[a] / (sizes[a] + sizes[a + 1 :])
        drawn = generator.binomial(pooled, odds[:, None], size=(n_permutations, *pooled.shape))
        sides = [_shares(drawn), _shares(pooled - drawn)]
        divergence = entropy((sides[0] + sides[1]) / 2) - (entropy(sides[0]) + entropy(sides[1])) / 2
        floors.append(np.nanmean(np.sqrt(np.maximum(divergence, 0)), axis=0))
    return np.concatenate(floors) if floors else np.empty(0)


def block_weights(n_resamples: int, seed: int = 0) -> np.ndarray:
    """How often each block is drawn, (resamples, N_BLOCKS): as many draws as blocks, with replacement."""
    equal = np.full(N_BLOCKS, 1 / N_BLOCKS)
    return np.random.default_rng(seed).multinomial(N_BLOCKS, equal, n_resamples).astype(np.float64)


def resampled_divergences(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Divergence of every pair in every resample, (pairs, resamples); NaN where a side draws no document.

    counts: (models, N_BLOCKS, bins). A resample draws the same blocks for all models: paired where these share their
    documents. Blocks are random groups, so this is the bootstrap over documents, with N_BLOCKS - 1 degrees of freedom.
    """
    drawn = np.einsum("rg,mgb->mrb", weights, counts.astype(np.float64), optimize=True)
    shares = _shares(drawn)
    own = entropy(shares)
    # Pair by pair: what is worked on stays in the cache.
    rows = [entropy((shares[a] + shares[b]) / 2) - (own[a] + own[b]) / 2 for a, b in pairs(len(counts))]
    return np.stack(rows) if rows else np.empty((0, len(weights)))


def intervals(observed: np.ndarray, resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of every distance, bias taken out.

    The basic bootstrap on the divergence, where the bias of the plug-in simply adds: a resample is as much above the
    sample as the sample is above the truth. So the interval may end below the plug-in distance where that is close to
    its floor. observed: distances (pairs,); resampled: divergences (pairs, resamples).
    """
    if not observed.size:
        return observed, observed
    tail = (1 - CONFIDENCE) / 2
    quantile = np.nanquantile if np.isnan(resampled).any() else np.quantile
    low, high = quantile(resampled, [tail, 1 - tail], axis=1)
    unbiased = np.clip(2 * observed**2 - np.stack([high, low]), 0, 1)
    return np.sqrt(unbiased[0]), np.sqrt(unbiased[1])


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts as shares of their sum over the last axis; NaN where that is 0."""
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=-1, keepdims=True)


def entropy(shares: np.ndarray) -> np.ndarray:
    """Shannon entropy over the last axis, base 2; empty bins add nothing."""
    return -np.einsum("...b,...b->...", shares, np.log2(np.maximum(shares, _SMALLEST)))

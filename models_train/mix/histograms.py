"""Histograms on common bins: edges from the scores of all models together, the same for every model (definitions 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from models_train.mix.samples import N_BLOCKS, numbers, ordinals

Binning = Literal["quantile", "equal_width"]
BINNINGS: tuple[Binning, ...] = ("quantile", "equal_width")


def edges(samples: Sequence[np.ndarray], n_bins: int, binning: Binning) -> np.ndarray:
    """Edges (n_bins + 1,) of the bins, float32, from the smallest score of all to the largest.

    samples: ascending float32 arrays, one or more. quantile: pooled quantiles, interpolated linearly as NumPy does;
    where many documents have the same score neighbouring edges coincide, and a bin between them stays empty.
    """
    known = [sample for sample in samples if sample.size]
    if binning == "equal_width":
        low, high = min(float(sample[0]) for sample in known), max(float(sample[-1]) for sample in known)
        return np.linspace(low, high, n_bins + 1).astype(np.float32)
    n = sum(sample.size for sample in known)
    positions = np.linspace(0, n - 1, n_bins + 1)
    below = np.floor(positions).astype(np.int64)
    found = pooled_order_statistics(known, np.concatenate([below, np.minimum(below + 1, n - 1)])).astype(np.float64)
    lower, upper = np.split(found, 2)
    return (lower + (positions - below) * (upper - lower)).astype(np.float32)


def pooled_order_statistics(samples: Sequence[np.ndarray], ranks: np.ndarray) -> np.ndarray:
    """The scores at the given ranks (from 0) of all samples together, exactly, without merging them.

    Bisection over the float32 numbers themselves, of which there are 2^32: for each rank the smallest number that more
    than `rank` documents do not exceed. samples: ascending float32 arrays.
    """
    low = np.full(ranks.shape, ordinals(np.array([min(sample[0] for sample in samples)]))[0])
    high = np.full(ranks.shape, ordinals(np.array([max(sample[-1] for sample in samples)]))[0])
    while np.any(low < high):
        middle = (low + high) // 2
        limit = numbers(middle)
        at_most = sum(np.searchsorted(sample, limit, side="right") for sample in samples)
        enough = at_most > ranks
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    return numbers(high)


def counts(scores: np.ndarray, bin_edges: np.ndarray) -> np.ndarray:
    """Documents (bins,) per bin [low, high), the last one closed. scores: ascending float32."""
    return np.diff(_borders(scores, bin_edges))


def block_counts(scores: np.ndarray, blocks: np.ndarray, bin_edges: np.ndarray) -> np.ndarray:
    """Documents (N_BLOCKS, bins) per block and bin. scores: ascending; blocks: of the same documents."""
    borders = _borders(scores, bin_edges)
    # The documents of a bin stand together: counting slice by slice is five times as fast as one count of pairs.
    return np.stack([np.bincount(one, minlength=N_BLOCKS) for one in np.split(blocks, borders[1:-1])]).T


def _borders(scores: np.ndarray, bin_edges: np.ndarray) -> np.ndarray:
    inner = np.searchsorted(scores, bin_edges[1:-1], side="left")
    return np.concatenate([[0], inner, [scores.size]])

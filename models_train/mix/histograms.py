"""Histograms on common bins: edges from the scores of all models together, the same for every model (definitions 8)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from models_train.mix.samples import N_BLOCKS, Samples, numbers, ordinals

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

"""Histograms on common bins: edges from the scores of all models together, the same for every model (definitions 8)."""

from __future__ import annotations

from typing import Literal

import numba
import numpy as np

from models_train.mix.compiling import COMPILED
from models_train.mix.samples import MAGNITUDE, N_BLOCKS, Samples, numbers, ordinals

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
    """The scores at the given ranks (from 0) of all samples together, float32, exactly, without merging them."""
    known = samples.spans[np.diff(samples.spans).ravel() > 0]
    low, high = ordinals(np.array([samples.scores[known[:, 0]].min(), samples.scores[known[:, 1] - 1].max()]))
    found = np.empty(ranks.size, np.int64)
    _bisect(samples.scores, known, ranks.astype(np.int64), low, high, found)
    return numbers(found)


def counts(samples: Samples, bin_edges: np.ndarray) -> np.ndarray:
    """Documents (samples, bins) per bin [low, high), the last one closed."""
    inner = [np.searchsorted(samples.scores[first:end], bin_edges[1:-1], side="left") for first, end in samples.spans]
    sizes = np.diff(samples.spans)
    return np.diff(np.concatenate([np.zeros_like(sizes), np.array(inner), sizes], axis=1), axis=1)


def block_counts(samples: Samples, bin_edges: np.ndarray, models: list[str]) -> np.ndarray:
    """Documents (models, bins, N_BLOCKS) per bin and block, float64, of all samples of each model."""
    found = np.zeros((len(models), bin_edges.size - 1, N_BLOCKS))
    places = {model: place for place, model in enumerate(models)}
    rows = np.array([places[model] for model in samples.models], np.int64)
    borders = np.cumsum(counts(samples, bin_edges), axis=1) + samples.spans[:, :1]
    _count_blocks(samples.blocks, samples.spans[:, 0].copy(), borders, rows, found)
    return found


@numba.njit(**COMPILED)
def _bisect(
    scores: np.ndarray, spans: np.ndarray, ranks: np.ndarray, lowest: int, highest: int, found: np.ndarray
) -> None:
    """Bisection over the float32 numbers themselves, of which there are 2^32: for each rank the ordinal of the smallest
    number that more than `rank` documents do not exceed. What of each sample can still matter shrinks on the way."""
    starts, ends, cuts = np.empty(len(spans), np.int64), np.empty(len(spans), np.int64), np.empty(len(spans), np.int64)
    for place in range(ranks.size):
        low, high = lowest, highest
        starts[:], ends[:] = spans[:, 0], spans[:, 1]
        while low < high:
            middle = (low + high) >> 1
            bits = np.int32(middle)
            limit = np.int32(bits ^ MAGNITUDE if bits < 0 else bits).view(np.float32)
            at_most = 0
            for sample in range(len(spans)):
                first, last = starts[sample], ends[sample]
                while first < last:
                    half = (first + last) >> 1
                    if scores[half] <= limit:
                        first = half + 1
                    else:
                        last = half
                cuts[sample] = first
                at_most += first - spans[sample, 0]
            if at_most > ranks[place]:
                high = middle
                ends[:] = cuts
            else:
                low = middle + 1
                starts[:] = cuts
        found[place] = high


@numba.njit(**COMPILED)
def _count_blocks(
    blocks: np.ndarray, starts: np.ndarray, borders: np.ndarray, rows: np.ndarray, found: np.ndarray
) -> None:
    """Adds to found (models, bins, N_BLOCKS). borders: (samples, bins), the end of each bin within `blocks`."""
    for sample in range(rows.size):
        first = starts[sample]
        for bin_ in range(borders.shape[1]):
            table = found[rows[sample], bin_]
            for document in range(first, borders[sample, bin_]):
                table[blocks[document]] += 1.0
            first = borders[sample, bin_]

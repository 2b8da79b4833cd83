"""How two models' scores of documents agree besides the histograms: Wasserstein-1 and Spearman (definitions 8)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

MIN_SHARED = 3
"""With fewer documents that both models scored there is no correlation."""


@dataclass(frozen=True)
class Scores:
    """One model's scores of the documents of a corpus, in an order that all models share; sorted once, used often.

    values: (documents,) float64, NaN where the model has no score.
    """

    values: np.ndarray

    @cached_property
    def known(self) -> np.ndarray:
        """(documents,) True where there is a score."""
        return ~np.isnan(self.values)

    @cached_property
    def order(self) -> np.ndarray:
        """Numbers of the scored documents, ascending by score."""
        found = np.argsort(self.values)  # NaN comes last
        return found[: int(self.known.sum())].astype(np.int32)

    @cached_property
    def ascending(self) -> np.ndarray:
        """Scores in that order."""
        return self.values[self.order]

    @cached_property
    def ranks(self) -> tuple[np.ndarray, float]:
        """(documents,) average ranks among the scored documents, as their distance from the mean rank, 0 for the
        others; and the root of the sum of their squares."""
        return self._ranks(self.order, self.ascending)

    def ranks_among(self, documents: np.ndarray, n: int) -> tuple[np.ndarray, float]:
        """As `ranks`, but among the n documents, all scored, where the mask `documents` is True."""
        if n == self.order.size:
            return self.ranks
        chosen = documents[self.order]
        return self._ranks(self.order[chosen], self.ascending[chosen])

    def _ranks(self, order: np.ndarray, ascending: np.ndarray) -> tuple[np.ndarray, float]:
        found = np.zeros(self.values.size)
        first = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
        sizes = np.diff(np.concatenate([first, [ascending.size]]))
        found[order] = np.repeat(first + (sizes - 1) / 2, sizes) - (ascending.size - 1) / 2
        return found, float(np.sqrt(found @ found))


def wasserstein_1(a: Scores, b: Scores) -> float:
    """Area between the two distribution functions, in the unit of the score, over each model's own documents.

    With equally many documents it is the mean distance of the sorted scores; otherwise the quantile functions are
    compared between all their steps, which lie at i / n_a and j / n_b.
    """
    n_a, n_b = a.ascending.size, b.ascending.size
    if n_a == n_b:
        return float(np.abs(a.ascending - b.ascending).mean())
    # Steps as whole numbers: i x n_b and j x n_a of n_a x n_b.
    steps = np.concatenate([np.arange(1, n_a + 1) * n_b, np.arange(1, n_b + 1) * n_a])
    steps.sort(kind="stable")
    widths = np.diff(steps, prepend=0)
    gaps = np.abs(a.ascending[(steps - 1) // n_b] - b.ascending[(steps - 1) // n_a])
    return float(widths @ gaps / (n_a * n_b))


def spearman(a: Scores, b: Scores) -> tuple[float | None, int]:
    """Rank correlation (average ranks) over the documents that both models scored, and how many these are.

    None with fewer than three documents, or where a side does not vary.
    """
    shared = a.known & b.known
    n = int(shared.sum())
    if n < MIN_SHARED:
        return None, n
    (ranks_a, spread_a), (ranks_b, spread_b) = (one.ranks_among(shared, n) for one in (a, b))
    if not spread_a * spread_b:
        return None, n
    return float(np.clip(ranks_a @ ranks_b / (spread_a * spread_b), -1, 1)), n

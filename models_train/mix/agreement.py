"""Agreement of two models' scores besides the histograms: Wasserstein-1 and Spearman (definitions, Section 8).

`AlignedScores` puts the same document in the same place for every model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

MIN_SHARED = 3
"""Fewest documents, scored by both models, that have a correlation."""


class AlignedScores:
    """Scores of a set of models, added one model after another; documents are in the order of their keys.

    Models that scored the very same documents share one array of keys, so the keys cost little memory.
    """

    def __init__(self) -> None:
        self._found: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}

    def add(self, documents: pa.Table) -> None:
        """Rows of one or more models: model_id, domain, and the aligned lists `keys` (uint64) and `scores` (double).

        Raises ValueError where a model has two scores for a document.
        """
        names = ("model_id", "domain", "keys", "scores")
        for model, domain, keys, scores in zip(*(documents.column(name) for name in names), strict=True):
            sorted_pair = _by_key(model.as_py(), *(listed.values.to_numpy() for listed in (keys, scores)))
            mine = self._found.setdefault(domain.as_py(), {})
            mine[model.as_py()] = self._sharing(mine, *sorted_pair)

    @property
    def domains(self) -> list[str]:
        """Domains, by name."""
        return sorted(self._found)

    def take(self, domain: str) -> tuple[list[str], np.ndarray]:
        """Remove a domain: its models, by name, and their scores (models, documents), NaN where a model has none."""
        found = self._found.pop(domain)
        models = sorted(found)
        every = found[models[0]][0]
        if any(keys is not every for keys, _ in found.values()):
            every = np.unique(np.concatenate([keys for keys, _ in found.values()]))
        matrix = np.full((len(models), every.size), np.nan)
        for row, model in zip(matrix, models, strict=True):
            keys, scores = found[model]
            row[np.searchsorted(every, keys) if keys is not every else slice(None)] = scores
        return models, matrix

    @staticmethod
    def _sharing(
        known: dict[str, tuple[np.ndarray, np.ndarray]], keys: np.ndarray, scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        same = next((other for other, _ in known.values() if np.array_equal(other, keys)), keys)
        return same, scores


def side_by_side(parts: Iterable[tuple[list[str], np.ndarray]]) -> tuple[list[str], np.ndarray]:
    """One matrix over the documents of all domains; NaN where a model has no documents of a domain."""
    parts = list(parts)
    models = sorted({model for names, _ in parts for model in names})
    matrix = np.full((len(models), sum(part.shape[1] for _, part in parts)), np.nan)
    start = 0
    for names, part in parts:
        matrix[[models.index(name) for name in names], start : start + part.shape[1]] = part
        start += part.shape[1]
    return models, matrix


def _by_key(model: str, keys: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(keys)
    keys = keys[order]
    if (keys[1:] == keys[:-1]).any():
        raise ValueError(f"{model} has more than one score for a document; land its parts again")
    return keys, scores[order]


@dataclass(frozen=True)
class Scores:
    """One model's scores of the documents of a corpus, in an order common to all models; sorted once.

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

"""Scores of documents, aligned: the same document stands in the same place for every model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa


class AlignedScores:
    """Scores of a set of models, taken in one model after another; documents are put in the order of their keys.

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
        """Models by name and their scores (models, documents) of a domain, NaN where a model has none; forgets them."""
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

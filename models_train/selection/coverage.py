"""Coverage of a feature minus that of size alone, with an interval over publishers (definitions, Section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import polars as pl

from models_train.selection.correlations import GRID
from models_train.selection.scores import INTERVAL_ENDS

RESAMPLES = 1000
_CELLS = ("study_id", "objective", "feature", "target")
"""Columns that make a cell; cells of one feature follow each other."""
FEWEST_USABLE = 0.9
"""Share of the resamples that must hold k models or more, for an interval."""
DIFFERENCES_SCHEMA: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(GRID, pl.String),
    "k": pl.Int32,
    "size_difference": pl.Float64,
    "size_difference_low": pl.Float64,
    "size_difference_high": pl.Float64,
}


def coverage_differences(pairs: pl.DataFrame, steps: Sequence[int], resamples: int = RESAMPLES) -> pl.DataFrame:
    """coverage@k of a feature minus that of size, for every cell of the grid and k in `steps` up to its models.

    pairs: one row per grid cell and model, as for `correlations.correlation_statistics`. Returns DIFFERENCES_SCHEMA.
    The 95 % interval is a percentile bootstrap that draws whole publishers: coverage moves in steps, which a jackknife
    does not take. It covers 0.99 of simulated differences, so it is wide rather than narrow. Null for one publisher,
    and where resamples have too few models.
    """
    rows = []
    kept: dict[tuple[str, bytes, bytes], np.ndarray] = {}
    for key, cell in pairs.sort(*_CELLS, "model_id").group_by(*GRID, maintain_order=True):
        names, member = np.unique(cell["publisher"].to_numpy().astype(str), return_inverse=True)
        weights = _draws(len(names), resamples)[:, member]
        columns = {name: cell[name].to_numpy() for name in ("feature_value", "log10_params", "target_value")}
        tops = {name: (name, column.tobytes(), member.tobytes()) for name, column in columns.items()}
        # A feature has its places among the same models for every target: they are computed once.
        kept = {place: kept[place] for place in tops.values() if place in kept}
        for name, place in tops.items():
            if place not in kept:
                ranks = above_and_tied(columns[name], weights)
                kept[place] = np.stack([top_shares(*ranks, k) for k in steps])
        by_feature, by_size, by_target = (kept[place] for place in tops.values())
        usable = weights.sum(axis=1)
        for step, k in enumerate(steps):
            if k <= cell.height:
                found = np.einsum("ij,ij,ij->i", by_feature[step] - by_size[step], by_target[step], weights) / k
                enough = found[1:][usable[1:] >= k]
                has_interval = len(names) > 1 and enough.size >= FEWEST_USABLE * resamples
                ends = np.quantile(enough, INTERVAL_ENDS).tolist() if has_interval else (None, None)
                rows.append((*key, k, float(found[0]), *ends))
    return pl.DataFrame(rows, schema={**DIFFERENCES_SCHEMA}, orient="row").sort(*GRID, "k")


@lru_cache(maxsize=8)
def _draws(n_publishers: int, resamples: int) -> np.ndarray:
    """How often each publisher is drawn, (1 + resamples, publishers); the first row is the data as they are."""
    even = np.full(n_publishers, 1 / n_publishers)
    draws = np.random.default_rng(0).multinomial(n_publishers, even, size=resamples)
    return np.vstack([np.ones(n_publishers), draws])


def above_and_tied(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many models of a draw are above each model (draws, n), and how many share its value, itself counted.

    values: (n,); weights: (draws, n), how often a draw holds each model.
    """
    levels, place = np.unique(-values, return_inverse=True)
    tied = weights @ (place[:, None] == np.arange(levels.size))
    return (tied.cumsum(axis=1) - tied)[:, place], np.maximum(tied, 1)[:, place]


def top_shares(above: np.ndarray, tied: np.ndarray, k: int) -> np.ndarray:
    """Chance of each model to be among the k largest, as `scores.top_k_probabilities`, for all draws at once."""
    return np.clip((k - above) / tied, 0, 1)

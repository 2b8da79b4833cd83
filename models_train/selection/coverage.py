"""Coverage of a feature minus that of size alone, with an interval over publishers (definitions, Section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from models_train.selection.correlations import GRID
from models_train.selection.scores import INTERVAL_ENDS

RESAMPLES = 1000
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
    for key, cell in pairs.sort(*GRID, "model_id").group_by(*GRID, maintain_order=True):
        columns = cell.select("feature_value", "log10_params", "target_value").to_numpy().T
        names, member = np.unique(cell["publisher"].to_numpy().astype(str), return_inverse=True)
        draws = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
        weights = np.vstack([np.ones(cell.height), draws[:, member]])
        ranked = [above_and_tied(column, weights) for column in columns]
        for k in steps:
            if k <= cell.height:
                by_feature, by_size, by_target = (top_shares(*ranks, k) for ranks in ranked)
                found = ((by_feature - by_size) * by_target * weights).sum(axis=1) / k
                usable = found[1:][weights[1:].sum(axis=1) >= k]
                has_interval = len(names) > 1 and usable.size >= FEWEST_USABLE * resamples
                ends = np.quantile(usable, INTERVAL_ENDS).tolist() if has_interval else (None, None)
                rows.append((*key, k, float(found[0]), *ends))
    return pl.DataFrame(rows, schema={**DIFFERENCES_SCHEMA}, orient="row")


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

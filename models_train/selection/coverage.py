"""Coverage of a feature minus that of size alone, with an interval over publishers (definitions, Section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl

from models_train.selection.correlations import GRID
from models_train.selection.jackknife import over_clusters
from models_train.selection.scores import top_k_probabilities

DIFFERENCES_SCHEMA: Mapping[str, type[pl.DataType]] = {
    **dict.fromkeys(GRID, pl.String),
    "k": pl.Int32,
    "size_difference": pl.Float64,
    "size_difference_low": pl.Float64,
    "size_difference_high": pl.Float64,
}


def coverage_differences(pairs: pl.DataFrame, steps: Sequence[int]) -> pl.DataFrame:
    """coverage@k of a feature minus that of size, for every cell of the grid and k in `steps` up to its models.

    pairs: one row per grid cell and model, as for `correlations.correlation_statistics`. Returns DIFFERENCES_SCHEMA;
    the ends of the 95 % interval, which leaves out one publisher after the other, are null where fewer than k models
    are left or nothing changes.
    """
    rows = []
    for key, cell in pairs.sort(*GRID, "model_id").group_by(*GRID, maintain_order=True):
        columns = cell.select("feature_value", "log10_params", "target_value").to_numpy().T
        publishers = cell["publisher"].to_numpy().astype(str)
        for k in steps:
            if k <= cell.height:
                found = over_clusters(partial(_difference, columns, k), publishers)
                ends = (found.low, found.high) if found.standard_error > 0 else (None, None)
                rows.append((*key, k, found.estimate, *ends))
    return pl.DataFrame(rows, schema={**DIFFERENCES_SCHEMA}, orient="row")


def _difference(columns: np.ndarray, k: int, rows: np.ndarray) -> float:
    """columns: feature, size and target, (3, models)."""
    if rows.size < k:
        return float("nan")
    by_feature, by_size, by_target = (top_k_probabilities(column[rows], k) for column in columns)
    return float((by_feature - by_size) @ by_target / k)

"""Benchmark values from another pipeline than the feature's main one, and their offset inside a fold.

A value of another pipeline joins a feature by the mean difference between the two pipelines over the models that both
have measured (definitions, Section 3). Inside a fold that difference is taken over training models alone, so that what
a held-out model's publisher measures elsewhere does not move the value that it is predicted from. With fewer than three
such models the value is missing there, and is imputed as any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

MIN_SHARED_MODELS = 3
"""As the variable minimum_shared_models of dbt."""


@dataclass(frozen=True)
class Joined:
    """Cells of one feature that come from one other pipeline. rows: their rows; measured: their values there.

    differences: (rows with a result,), this pipeline minus the main one, NaN where a model lacks either.
    """

    column: int
    rows: np.ndarray
    measured: np.ndarray
    differences: np.ndarray


def joined_cells(
    features: pl.DataFrame, pipeline_values: pl.DataFrame, names: tuple[str, ...], model_ids: list[str], n_trained: int
) -> tuple[Joined, ...]:
    """The cells of the design that need an offset. model_ids: of its rows, the n_trained with a result first.

    features: of the mart fct_regression_features, with pipeline, measured_value and is_main_pipeline; pipeline_values:
    model_id, feature, pipeline, measured_value, all pipelines of every model.
    """
    row_of = {model: row for row, model in enumerate(model_ids)}
    used = features.filter(pl.col("feature").is_in(names), pl.col("model_id").is_in(model_ids))
    main = dict(
        used.filter("is_main_pipeline", pl.col("pipeline").is_not_null()).select("feature", "pipeline").iter_rows()
    )
    values = {
        key: dict(part.select("model_id", "measured_value").iter_rows())
        for key, part in pipeline_values.group_by("feature", "pipeline")
    }
    found = []
    others = used.filter(~pl.col("is_main_pipeline"), pl.col("value").is_not_null()).sort(
        "feature", "pipeline", "model_id"
    )
    for (feature, pipeline), part in others.group_by("feature", "pipeline", maintain_order=True):
        here, there = values.get((feature, pipeline), {}), values.get((feature, main.get(feature)), {})
        nan = float("nan")
        differences = [here.get(model, nan) - there.get(model, nan) for model in model_ids[:n_trained]]
        rows = np.array([row_of[model] for model in part["model_id"]])
        measured = part["measured_value"].cast(pl.Float64).to_numpy()
        found.append(Joined(names.index(str(feature)), rows, measured, np.array(differences)))
    return tuple(found)


def with_offsets(matrix: np.ndarray, joined: tuple[Joined, ...], train: np.ndarray) -> np.ndarray:
    """The matrix (rows, columns) with the offsets that the rows `train` give; the same one without any."""
    if not joined:
        return matrix
    moved = matrix.copy()
    for one in joined:
        known = one.differences[train]
        known = known[np.isfinite(known)]
        moved[one.rows, one.column] = one.measured - known.mean() if known.size >= MIN_SHARED_MODELS else np.nan
    return moved

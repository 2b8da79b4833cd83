"""Schemas of the landed frames (without study_id) and the rows that fill them. Points are percent points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import polars as pl

from models_train.selection.protocols import Predicted
from models_train.selection.scores import COVERAGE_STEPS, coverage_at_k, mean_absolute_error, regret_at_k

_KEY: dict[str, type[pl.DataType]] = {"objective": pl.String, "target": pl.String}
SCHEMAS: dict[str, dict[str, type[pl.DataType]]] = {
    "predictions": _KEY
    | {
        "model_id": pl.String,
        "protocol": pl.String,
        "predictor": pl.String,
        "predicted": pl.Float64,
        "interval_low": pl.Float64,
        "interval_high": pl.Float64,
        "observed": pl.Float64,
        "in_hull": pl.Boolean,
        "fold": pl.String,
    },
    "coefficients": _KEY
    | {"protocol": pl.String, "feature": pl.String, "coefficient": pl.Float64, "selection_frequency": pl.Float64},
    "scores": _KEY
    | {
        "protocol": pl.String,
        "predictor": pl.String,
        "mae": pl.Float64,
        "mae_low": pl.Float64,
        "mae_high": pl.Float64,
        "coverage_at_5": pl.Float64,
        "coverage_at_10": pl.Float64,
        "regret_at_1": pl.Float64,
        "regret_at_5": pl.Float64,
    },
    "predicted_coverage": _KEY
    | {
        "protocol": pl.String,
        "predictor": pl.String,
        "k": pl.Int64,
        "coverage": pl.Float64,
        "chance": pl.Float64,
    },
    "choices": _KEY
    | {
        "fold": pl.String,
        "selected_predictor": pl.String,
        "degree": pl.Int64,
        "alpha": pl.Float64,
        "l1_ratio": pl.Float64,
    },
    "abstentions": _KEY | {"reason": pl.String},
    "excluded_features": _KEY | {"feature": pl.String, "share_of_models": pl.Float64, "reason": pl.String},
}
"""Frames of `PerformanceResult`. `choices`: what nested selection took per outer fold; fold null = all models."""


def frame(name: str, rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    """Rows as the typed frame of that name."""
    return pl.DataFrame(list(rows), schema=SCHEMAS[name], orient="row")


def finite(value: float) -> float | None:
    """The value, or None where it is infinite or not a number (an interval end that the data do not bound)."""
    return float(value) if np.isfinite(value) else None


def prediction_rows(predicted: Predicted, model_ids: Sequence[str], observed: np.ndarray) -> list[tuple[object, ...]]:
    """Rows of `predictions` after objective and target. model_ids may go on after the observed models."""
    return [
        (
            model_ids[row],
            predicted.protocol,
            predicted.predictor,
            float(predicted.values[row]),
            finite(predicted.low[row]),
            finite(predicted.high[row]),
            float(observed[row]),
            bool(predicted.in_hull[row]),
            predicted.fold[row],
        )
        for row in range(observed.size)
    ]


def score_row(
    predicted: Predicted, observed: np.ndarray, publishers: np.ndarray, n_resamples: int, seed: int
) -> tuple[object, ...]:
    """Row of `scores` after objective and target; a k above the number of models gives null."""
    error = mean_absolute_error(predicted.values, observed, publishers, n_resamples, seed)
    coverage = [coverage_at_k(predicted.values, observed, k) if k <= observed.size else None for k in (5, 10)]
    regret = [regret_at_k(predicted.values, observed, k) if k <= observed.size else None for k in (1, 5)]
    return (predicted.protocol, predicted.predictor, *error, *coverage, *regret)


def coverage_rows(predicted: Predicted, observed: np.ndarray) -> list[tuple[object, ...]]:
    """Rows of `predicted_coverage` after objective and target, for k up to the number of models."""
    return [
        (predicted.protocol, predicted.predictor, k, coverage_at_k(predicted.values, observed, k), k / observed.size)
        for k in takewhile(lambda k: k <= observed.size, COVERAGE_STEPS)
    ]

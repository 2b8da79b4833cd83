"""Designs of one objective's score for the tests and benchmarks."""

from __future__ import annotations

import numpy as np
import polars as pl

from models_train.selection.design import Design, design, target_values
from models_train.selection.features import feature_table

AGGREGATES = ("leaderboard v1", "leaderboard v2")


def make_design(features: pl.DataFrame, results: pl.DataFrame, objective: str = "regression") -> Design:
    """Design of one objective's score."""
    values = target_values(results, objective, "score")
    table = feature_table(features, values, aggregates=AGGREGATES)
    return design(table, np.array([[values.get(model, np.nan)] for model in table.model_ids]))

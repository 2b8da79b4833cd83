"""Offsets between pipelines inside a fold: from training models alone, and those of the mart on all models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from models_train.selection.design import Design, design, target_values
from models_train.selection.features import feature_table
from models_train.selection.pipelines import MIN_SHARED_MODELS
from tests.support import published_frames
from tests.support.selection_frames import AGGREGATES

DBT_PROJECT = Path(__file__).resolve().parents[3] / "dbt" / "dbt_project.yml"


def made(pipeline_values: pl.DataFrame) -> Design:
    """The published design whose offsets come from these values."""
    features = published_frames.features()
    values = target_values(published_frames.results(), "regression", "score")
    table = feature_table(features, values, aggregates=AGGREGATES)
    targets = np.array([[values.get(model, np.nan)] for model in table.model_ids])
    return design(table, targets, pipelines=(features, pipeline_values))


@pytest.fixture(scope="module")
def joined() -> Design:
    return made(published_frames.pipeline_values())


def test_on_all_models_the_values_are_those_of_the_mart(joined: Design) -> None:
    assert joined.joined, "the published study joins pipelines"
    np.testing.assert_allclose(joined.matrix_for(np.arange(joined.n_observed)), joined.matrix, atol=1e-9)


def test_an_offset_is_the_mean_difference_of_the_training_models(joined: Design) -> None:
    one = max(joined.joined, key=lambda cells: np.isfinite(cells.differences).sum())
    shared = np.flatnonzero(np.isfinite(one.differences))
    train = np.setdiff1d(np.arange(joined.n_observed), shared[:1])
    moved = joined.matrix_for(train)[one.rows, one.column]
    if shared.size > MIN_SHARED_MODELS:
        np.testing.assert_allclose(moved, one.measured - one.differences[shared[1:]].mean())
    few = np.setdiff1d(np.arange(joined.n_observed), shared[MIN_SHARED_MODELS - 1 :])
    assert np.isnan(joined.matrix_for(few)[one.rows, one.column]).all(), "too few: missing"


def test_other_measurements_of_a_held_out_publisher_change_nothing_for_it(joined: Design) -> None:
    cells = joined.joined[0]
    held_out = joined.groups == joined.groups[np.flatnonzero(np.isfinite(cells.differences))[0]]
    models = [model for model, out in zip(joined.model_ids, held_out, strict=False) if out]
    moved = pl.when(pl.col("model_id").is_in(models)).then(pl.col("measured_value") + 30).otherwise("measured_value")
    other = made(published_frames.pipeline_values().with_columns(measured_value=moved))
    train = np.flatnonzero(~held_out)
    np.testing.assert_array_equal(other.matrix_for(train), joined.matrix_for(train))
    everyone = np.arange(joined.n_observed)
    assert not np.array_equal(other.matrix_for(everyone), joined.matrix_for(everyone), equal_nan=True)


def test_the_smallest_number_of_shared_models_is_that_of_dbt() -> None:
    assert yaml.safe_load(DBT_PROJECT.read_text())["vars"]["minimum_shared_models"] == MIN_SHARED_MODELS

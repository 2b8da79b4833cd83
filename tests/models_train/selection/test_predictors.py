"""Predictors against plain scikit-learn or a closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel
from sklearn.impute import KNNImputer
from sklearn.linear_model import LinearRegression

from models_train.selection.design import Design
from models_train.selection.predictors import (
    BestSingleBenchmark,
    FamilyKernel,
    QuietGaussianProcess,
    logit_to_points,
    points_to_logit,
    predictors,
)


def test_size_baselines_are_least_squares(small_design: Design) -> None:
    columns, X, y = small_design.columns, small_design.matrix, small_design.targets
    found = predictors(columns)
    for name, used in (("log10_params", [columns.log_size]), ("params_and_tokens", [columns.size, columns.tokens])):
        expected = LinearRegression().fit(X[:15][:, used], y[:15]).predict(X[:, used])
        np.testing.assert_allclose(clone(found[name]).fit(X[:15], y[:15]).predict(X), expected, atol=1e-9)
    np.testing.assert_allclose(clone(found["mean"]).fit(X[:15], y[:15]).predict(X)[-1], y[:15].mean())


def test_tokens_are_optional(small_design: Design) -> None:
    assert "params_and_tokens" not in predictors(replace(small_design.columns, tokens=None))


def test_targets_are_treated_one_by_one(small_design: Design) -> None:
    X, y = small_design.matrix, small_design.targets
    other = np.random.default_rng(0).uniform(50, 90, size=y.shape)
    for name, estimator in predictors(small_design.columns).items():
        together = clone(estimator).fit(X[:15], np.hstack([y[:15], other[:15]])).predict(X)
        alone = np.reshape(clone(estimator).fit(X[:15], y[:15]).predict(X), -1)
        np.testing.assert_allclose(together[:, 0], alone, atol=1e-9, err_msg=name)


def test_best_single_benchmark_is_chosen_by_training_rows_alone() -> None:
    generator = np.random.default_rng(2)
    X = generator.normal(size=(30, 3))
    y = (2 * X[:, 2] + 0.1 * generator.normal(size=30))[:, None]
    X[:5, 2] = np.nan
    model = BestSingleBenchmark([0, 1, 2]).fit(X[:20], y[:20])
    assert model.chosen_ == [2]
    swapped = y.copy()
    swapped[20:] = generator.normal(size=(10, 1))
    np.testing.assert_array_equal(model.predict(X), BestSingleBenchmark([0, 1, 2]).fit(X[:20], swapped[:20]).predict(X))
    scaled = (X - np.nanmean(X[:20], axis=0)) / np.nanstd(X[:20], axis=0)
    filled = KNNImputer(n_neighbors=5).fit(scaled[:20]).transform(scaled)[:, [2]]
    np.testing.assert_allclose(model.predict(X)[:, 0], LinearRegression().fit(filled[:20], y[:20, 0]).predict(filled))


def test_sigmoid_link_goes_there_and_back_and_stays_in_range() -> None:
    points = np.array([1.0, 38.6, 50.0, 88.1, 99.0])
    np.testing.assert_allclose(logit_to_points(points_to_logit(points)), points)
    assert np.isfinite(points_to_logit(np.array([0.0, 100.0]))).all()
    assert logit_to_points(np.array([-800.0, 800.0])).tolist() == [0.0, 100.0]


def test_family_kernel_is_the_random_effect_covariance() -> None:
    family = np.array([0, 1, 1, 2, 0])
    X = np.column_stack([np.arange(5.0), family])
    indicator = np.eye(3)[family]
    np.testing.assert_array_equal(FamilyKernel()(X), indicator @ indicator.T)
    np.testing.assert_array_equal(FamilyKernel().diag(X), 1)


def test_a_family_effect_moves_relatives_and_nobody_else() -> None:
    generator = np.random.default_rng(4)
    family = np.repeat(np.arange(8), 4)
    effect = 5 * generator.normal(size=8)
    X = np.column_stack([generator.normal(size=32), family])
    y = 70 + effect[family] + 0.3 * generator.normal(size=32)
    model = QuietGaussianProcess(ConstantKernel(1.0) * FamilyKernel() + WhiteKernel(0.1)).fit(X, y)
    relative, stranger = model.predict(np.array([[0.0, 3], [0.0, 99]]))
    assert relative == pytest.approx(y[family == 3].mean(), abs=0.5)
    assert stranger == pytest.approx(y.mean(), abs=1e-6)

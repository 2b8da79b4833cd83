"""The fast grid against scikit-learn's own ElasticNet at a tight tolerance."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from models_train.selection import elastic_net
from models_train.selection.design import Prepared, standardise_and_impute
from models_train.selection.elastic_net import PAPER_GRID, Setting, fit_grid, fit_setting

TRAIN = np.arange(24)
NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(30, 4))
    target = 70 + 5 * values[:, 0] + 2 * values[:, 1] * values[:, 2] + generator.normal(size=30)
    values[generator.random(values.shape) < 0.1] = np.nan
    return values, target


def plain_pipeline(setting: Setting, values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What a user of scikit-learn would write; (30,) predictions."""
    mean, scale = target[TRAIN].mean(), target[TRAIN].std()
    pipeline = make_pipeline(
        standardise_and_impute(),
        PolynomialFeatures(setting.degree, include_bias=False),
        StandardScaler(),
        ElasticNet(alpha=setting.alpha, l1_ratio=setting.l1_ratio, tol=1e-13, max_iter=2_000_000),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(values[TRAIN], (target[TRAIN] - mean) / scale)
    return mean + scale * pipeline.predict(values)


def test_the_paper_searches_sixty_settings() -> None:
    assert len(set(PAPER_GRID)) == 60


def test_every_setting_equals_plain_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    values, target = data
    fast = fit_grid(Prepared(values, TRAIN, NAMES), target[TRAIN, None])
    for index, setting in enumerate(PAPER_GRID):
        np.testing.assert_allclose(
            fast.predictions[0, index], plain_pipeline(setting, values, target), atol=1e-6, rtol=0, err_msg=str(setting)
        )
    assert fast.gaps.max() <= elastic_net.GAP_TOLERANCE


@pytest.mark.parametrize("setting", [Setting(2, 0.1, 0.75), Setting(3, 0.001, 1.0), Setting(1, 0.01, 0.0)])
def test_a_refit_is_the_grid_point(setting: Setting, data: tuple[np.ndarray, np.ndarray]) -> None:
    values, target = data
    prepared = Prepared(values, TRAIN, NAMES)
    refit = fit_setting(prepared, target[TRAIN], setting)
    on_grid = fit_grid(prepared, target[TRAIN, None], [setting]).predictions[0, 0]
    predicted = target[TRAIN].mean() + prepared.all_rows(setting.degree) @ refit.values
    np.testing.assert_allclose(predicted, on_grid, atol=1e-6)
    assert len(refit.terms) == refit.values.size
    assert refit.terms[:4] == NAMES


def test_terms_are_named_like_a_person_would() -> None:
    prepared = Prepared(np.random.default_rng(0).normal(size=(9, 2)), np.arange(9), ("leaderboard v2", "params_b"))
    assert prepared.term_names(2) == (
        "leaderboard v2",
        "params_b",
        "leaderboard v2^2",
        "leaderboard v2 x params_b",
        "params_b^2",
    )


def test_a_constant_target_is_predicted_as_itself(data: tuple[np.ndarray, np.ndarray]) -> None:
    fitted = fit_grid(Prepared(data[0], TRAIN, NAMES), np.full((24, 1), 61.5))
    np.testing.assert_allclose(fitted.predictions, 61.5)


def test_a_feature_without_any_training_value_gets_no_weight(data: tuple[np.ndarray, np.ndarray]) -> None:
    values, target = data
    values = np.column_stack([values, np.where(np.arange(30) < 24, np.nan, 3.0)])
    prepared = Prepared(values, TRAIN, (*NAMES, "e"))
    refit = fit_setting(prepared, target[TRAIN], Setting(1, 0.0001, 0.5))
    assert np.isfinite(refit.values).all()
    assert refit.values[4] == 0

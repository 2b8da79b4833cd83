"""Nested leave-publisher-out: no leak, the same answer as plain GridSearchCV, averages, placebo as a warning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import ElasticNet
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from models_train.selection.design import Design, standardise_and_impute
from models_train.selection.elastic_net import Setting
from models_train.selection.jackknife import mean_over_clusters
from models_train.selection.leave_out import LeaveOut, leave_out
from models_train.selection.predictors import AVERAGE, ELASTIC_NET, PLAIN_AVERAGE, SELECTED
from models_train.selection.protocols import (
    NOTHING,
    in_sample_predictions,
    leave_one_more_out,
    leave_publisher_out_predictions,
    ten_fold,
    ten_fold_predictions,
)
from models_train.selection.support import distances_from, error_limit
from tests.support.selection_frames import PUBLISHER_SIZES, make_design, simulated, with_placebo

pytestmark = pytest.mark.slow

Frames = tuple[pl.DataFrame, pl.DataFrame]
QUICK = tuple(Setting(1, alpha, 0.5) for alpha in (3.0, 0.1))


def test_targets_of_the_outer_fold_do_not_reach_its_predictions(small_design: Design, small_fits: LeaveOut) -> None:
    honest = leave_publisher_out_predictions(small_fits, 0)
    fold = 2
    members = np.flatnonzero(small_design.folds == fold)
    permuted = small_design.targets.copy()
    permuted[members] = np.roll(permuted[members], 1, axis=0)
    assert (permuted[members] != small_design.targets[members]).all()
    again = leave_publisher_out_predictions(leave_out(replace(small_design, targets=permuted)), 0)
    others = np.flatnonzero(small_design.folds != fold)
    for before, after in zip(honest, again, strict=True):
        for name in ("values", "low", "high"):
            unchanged = getattr(before, name)[members] == getattr(after, name)[members]
            assert unchanged.all(), (before.predictor, name)
        if before.predictor != "mean":
            assert (before.values[others] != after.values[others]).any(), "the permutation must matter elsewhere"


def test_targets_of_a_ten_fold_fold_do_not_reach_a_fixed_setting(small_design: Design) -> None:
    folds = ten_fold(small_design)
    members = np.flatnonzero(folds.folds == 3)
    permuted = small_design.targets.copy()
    permuted[members] += 9
    again = ten_fold(replace(small_design, targets=permuted))
    np.testing.assert_array_equal(folds.grid(0)[:, members], again.grid(0)[:, members])
    np.testing.assert_array_equal(folds.other("pc_ridge", 0)[members], again.other("pc_ridge", 0)[members])


def test_nested_elastic_net_equals_plain_grid_search(small_design: Design) -> None:
    """Outer and inner leave-one-publisher-out by scikit-learn alone, on a part of the grid that it solves exactly."""
    degrees, alphas, l1_ratios = (1, 2), (0.1, 0.01), (0.25, 0.75, 1.0)
    settings = [Setting(d, a, r) for d in degrees for a in alphas for r in l1_ratios]
    fits = leave_out(small_design, settings=settings, elastic_net_only=True)
    values = small_design.matrix[:, list(small_design.columns.elastic_net)]
    target, folds = small_design.targets[:, 0], small_design.folds
    for fold in range(len(small_design.fold_names)):
        train = folds != fold
        search = GridSearchCV(
            TransformedTargetRegressor(
                Pipeline(
                    [
                        ("prepare", standardise_and_impute()),
                        ("terms", PolynomialFeatures(include_bias=False)),
                        ("scale", StandardScaler()),
                        ("net", ElasticNet(tol=1e-12, max_iter=1_000_000)),
                    ]
                ),
                transformer=StandardScaler(),
            ),
            {
                "regressor__terms__degree": degrees,
                "regressor__net__alpha": alphas,
                "regressor__net__l1_ratio": l1_ratios,
            },
            scoring="neg_mean_absolute_error",
            cv=LeaveOneGroupOut(),
            error_score="raise",
        ).fit(values[train], target[train], groups=folds[train])
        best = {name.split("__")[-1]: value for name, value in search.best_params_.items()}
        assert fits.settings[fits.setting(frozenset({fold}), 0)] == Setting(**best)
        np.testing.assert_allclose(
            fits.predict(ELASTIC_NET, frozenset({fold}), 0), search.predict(values), atol=1e-6, rtol=0
        )


def test_selection_takes_the_smallest_inner_error(small_fits: LeaveOut) -> None:
    left = frozenset({1})
    errors = small_fits.predictor_errors(left, 0)
    assert small_fits.best_predictor(left, 0) == min(errors, key=errors.__getitem__)
    inner = []
    for fold in small_fits.remaining(left):
        members = small_fits.design.folds == fold
        predicted = small_fits.predict("log10_params", left | {fold}, 0)[:20][members]
        inner.append(np.abs(predicted - small_fits.design.targets[members, 0]).mean())
    assert errors["log10_params"] == pytest.approx(np.mean(inner))
    chosen = small_fits.best_predictor(left, 0)
    np.testing.assert_array_equal(small_fits.predict(SELECTED, left, 0), small_fits.predict(chosen, left, 0))


def test_the_average_is_shrunk_by_least_squares_on_the_inner_folds(small_fits: LeaveOut) -> None:
    left, members = frozenset({1}), small_fits.members
    assert "mean" not in members and len(members) == len(small_fits.names) - 1
    plain = np.mean([small_fits.predict(name, left, 0) for name in members], axis=0)
    np.testing.assert_allclose(small_fits.predict(PLAIN_AVERAGE, left, 0), plain)
    deviations, results = [], []
    for fold in small_fits.remaining(left):
        rows = np.flatnonzero(small_fits.design.folds == fold)
        fit = small_fits.fits[left | {fold}]
        net = fit.grid[0, small_fits.setting(left, 0)]
        inner = np.mean([net if name == ELASTIC_NET else fit.others[name][0] for name in members], axis=0)
        deviations.append((inner - fit.others["mean"][0])[rows])
        results.append(small_fits.design.targets[rows, 0] - fit.others["mean"][0][rows])
    factor = np.linalg.lstsq(np.concatenate(deviations)[:, None], np.concatenate(results), rcond=None)[0][0]
    assert small_fits.shrinkage(left, 0, members) == pytest.approx(np.clip(factor, 0, 1))
    middle = small_fits.predict("mean", left, 0)
    np.testing.assert_allclose(small_fits.predict(AVERAGE, left, 0), middle + np.clip(factor, 0, 1) * (plain - middle))


def test_noise_is_shrunk_to_the_mean() -> None:
    """Where no feature says anything, the average falls back on the mean of the results.

    With as many models and publishers as the paper has: with half as many, a factor fitted to noise is larger.
    """
    noise = make_design(*simulated(7, publishers=PUBLISHER_SIZES, n_benchmarks=4))
    shares = []
    for seed in range(4):
        targets = 70 + 5 * np.random.default_rng(seed).standard_normal(noise.targets.shape)
        fits = leave_out(replace(noise, targets=targets), settings=QUICK, deepest=2)
        shares += [fits.shrinkage(frozenset({fold}), 0, fits.members) for fold in range(10)]
    assert np.mean(shares) < 0.35


def test_calibration_repeats_the_whole_choice(small_fits: LeaveOut) -> None:
    """The residual of a publisher comes from the predictor that is chosen without it, which may be another."""
    for name in (SELECTED, AVERAGE):
        centres, residuals = leave_one_more_out(small_fits, name, frozenset({0}), 0)
        kept = np.flatnonzero(small_fits.design.folds != 0)
        row = int(kept[-1])
        left = frozenset({0, int(small_fits.design.folds[row])})
        predicted = small_fits.predict(name, left, 0)
        np.testing.assert_array_equal(centres[:, -1], predicted)
        assert residuals[-1] == abs(predicted[row] - small_fits.design.targets[row, 0])


def test_distances_are_those_of_mahalanobis_and_the_limit_splits_the_errors() -> None:
    generator = np.random.default_rng(0)
    train = generator.standard_normal((4000, 3)) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 0, 9]]) + 5
    values = train[:50] + generator.standard_normal((50, 3))
    offset = values - train.mean(axis=0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", offset, np.linalg.inv(np.cov(train.T)), offset) / 3)
    np.testing.assert_allclose(distances_from(train, values), expected, rtol=0.02)
    distances = np.linspace(1, 2, 40)
    assert 1.74 < error_limit(distances, np.where(distances > 1.75, 6.0, 3.0)) < 1.78
    assert error_limit(distances, np.where(distances > 1.75, 1.0, 3.0)) == 2.0
    assert error_limit(distances, np.full(40, 3.0)) == 2.0


def test_grouped_cv_plus_uses_the_model_without_the_publisher(small_fits: LeaveOut) -> None:
    centres, residuals = leave_one_more_out(small_fits, "pc_ridge", NOTHING, 0)
    fold = int(small_fits.design.folds[6])
    without = small_fits.fits[frozenset({fold})].others["pc_ridge"][0]
    np.testing.assert_array_equal(centres[:, 6], without)
    assert residuals[6] == abs(without[6] - small_fits.design.targets[6, 0])


def test_jobs_do_not_change_a_digit(small_design: Design, small_fits: LeaveOut) -> None:
    parallel = leave_out(small_design, n_jobs=2)
    for left, fit in small_fits.fits.items():
        np.testing.assert_array_equal(parallel.fits[left].grid, fit.grid)
        for name, values in fit.others.items():
            np.testing.assert_array_equal(parallel.fits[left].others[name], values)


def elastic_net_errors(design: Design) -> dict[str, np.ndarray]:
    """Predictions in sample and left out, (40,) each."""
    fits = leave_out(design, n_jobs=2, elastic_net_only=True)
    folds = ten_fold(design, n_jobs=2)
    left_out = np.empty(design.n_observed)
    for fold in range(len(design.fold_names)):
        members = np.flatnonzero(design.folds == fold)
        left_out[members] = fits.predict(ELASTIC_NET, frozenset({fold}), 0)[members]
    inside = in_sample_predictions(folds, 0)
    mixed = ten_fold_predictions(folds, 0)
    return {
        "in_sample": next(p.values for p in inside if p.predictor == ELASTIC_NET),
        "ten_fold": next(p.values for p in mixed if p.predictor == ELASTIC_NET),
        "left_out": left_out,
    }


def test_placebo_features_fool_the_in_sample_error_and_not_the_honest_one(published: Frames) -> None:
    """Random numbers that name the family: in sample they look like a discovery, for a new publisher they are none."""
    features, results = published
    design = make_design(features, results, "bradley_terry")
    fooled = make_design(with_placebo(features, 8, seed=0), results, "bradley_terry")
    assert fooled.model_ids == design.model_ids
    before, after = elastic_net_errors(design), elastic_net_errors(fooled)
    observed = design.targets[:, 0]

    def change(protocol: str) -> float:
        missed = [np.abs(errors[protocol] - observed) for errors in (after, before)]
        return mean_over_clusters(missed[0] - missed[1], design.groups).high

    assert change("in_sample") < 0, "in sample the placebo improves beyond its interval"
    assert change("left_out") >= 0, "left out it does not"


def test_a_placebo_is_constant_within_a_family(published: Frames) -> None:
    made = with_placebo(published[0], 3, seed=1).filter(pl.col("feature").str.starts_with("placebo_"))
    assert made.height == 3 * 40
    per_family = made.group_by("family", "feature").agg(pl.col("value").n_unique())
    assert per_family["value"].to_list() == [1] * per_family.height
    assert made["value"].n_unique() == per_family.height

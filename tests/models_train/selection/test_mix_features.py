"""Features of the pre-training mix and their placebo: fitted beside the ordinary predictors, never into them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models_train.selection.design import ELASTIC_NET, WITH_MIX, WITH_PLACEBO
from models_train.selection.elastic_net import Setting
from models_train.selection.leave_out import LeaveOut, leave_out
from models_train.selection.performance import PerformanceSettings, mix_verdict, performance
from models_train.selection.protocols import NOTHING, forecasts, leave_publisher_out_predictions, ten_fold
from tests.support.selection_frames import make_design

pytestmark = pytest.mark.slow

Frames = tuple[pl.DataFrame, pl.DataFrame]
SETTINGS = tuple(Setting(1, alpha, 0.5) for alpha in (0.1, 0.01))


def with_mix(frames: Frames, informative: bool, missing: str = "") -> Frames:
    """Two features of the mix, which hold what the benchmarks do not say of the score, or nothing; and two placebos."""
    features, results = frames
    models = features.select("study_id", "model_id", "publisher", "family").unique(maintain_order=True)
    rng = np.random.default_rng(3)
    secret = rng.normal(size=models.height)
    scores = models.join(results, on="model_id")["score"].to_numpy() + 6 * secret
    informative_feature = secret if informative else rng.normal(size=models.height)
    by_family = dict(zip(sorted(set(models["family"])), rng.normal(size=(100, 2)), strict=False))
    placebo = np.array([by_family[family] for family in models["family"]])
    columns = {
        "mix_presence_book": informative_feature,
        "mix_presence_github": rng.normal(size=models.height),
        "placebo_book": placebo[:, 0],
        "placebo_github": placebo[:, 1],
    }
    added = [
        models.with_columns(feature=pl.lit(name), value=pl.Series(values), feature_kind=pl.lit(name.split("_")[0]))
        for name, values in columns.items()
    ]
    long = pl.concat([features, *added], how="diagonal").filter(
        (pl.col("model_id") != missing) | ~pl.col("feature_kind").is_in(["mix", "placebo"])
    )
    return long, results.with_columns(score=pl.Series(scores))


@pytest.fixture(scope="module", params=[True, False], ids=["informative", "noise"])
def informative(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def frames(small: Frames, informative: bool) -> Frames:
    return with_mix(small, informative)


@pytest.fixture(scope="module")
def fits(frames: Frames) -> LeaveOut:
    return leave_out(make_design(*frames), settings=SETTINGS)


def test_the_ordinary_predictors_do_not_see_them(frames: Frames, fits: LeaveOut) -> None:
    features, results = frames
    without = features.filter(pl.col("feature_kind").is_in(["benchmark", "training"]))
    plain = leave_out(make_design(without, results), settings=SETTINGS)
    assert set(fits.names) - set(plain.names) == {WITH_MIX, WITH_PLACEBO}
    for left, fit in plain.fits.items():
        np.testing.assert_array_equal(fit.grids[ELASTIC_NET], fits.fits[left].grids[ELASTIC_NET])
        for name, values in fit.others.items():
            np.testing.assert_array_equal(values, fits.fits[left].others[name])
    mine = {found.predictor: found for found in leave_publisher_out_predictions(fits, 0)}
    for found in leave_publisher_out_predictions(plain, 0):
        if found.predictor != "selected":
            for column in ("values", "low", "high", "in_hull"):
                np.testing.assert_array_equal(getattr(found, column), getattr(mine[found.predictor], column))


def test_nested_selection_takes_the_mix_only_where_it_tells_something(fits: LeaveOut, informative: bool) -> None:
    assert (fits.best_predictor(NOTHING, 0) == WITH_MIX) == informative
    errors = fits.predictor_errors(NOTHING, 0)
    if informative:
        assert errors[WITH_MIX] < min(errors[ELASTIC_NET], errors[WITH_PLACEBO])


def test_a_placebo_that_wins_is_not_taken(fits: LeaveOut, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {ELASTIC_NET: 3.0, WITH_MIX: 2.0, WITH_PLACEBO: 1.0}
    monkeypatch.setattr(LeaveOut, "predictor_errors", lambda *_: dict(errors))
    assert fits.best_predictor(NOTHING, 0) == ELASTIC_NET
    errors[WITH_PLACEBO] = 2.5
    assert fits.best_predictor(NOTHING, 0) == WITH_MIX


def test_the_rows_of_a_study_with_a_mix(small: Frames) -> None:
    found = performance(*with_mix(small, True), ["regression"], ["score"], PerformanceSettings(n_bootstraps=20))
    sentence = mix_verdict(found.comparisons, "regression", "score")
    assert sentence.startswith("The pre-training mix improves the prediction: ")
    assert {WITH_MIX, WITH_PLACEBO} <= set(found.scores["predictor"])
    assert WITH_PLACEBO not in set(found.choices["selected_predictor"])
    without = found.comparisons.filter(pl.col("predictor") != WITH_MIX)
    assert mix_verdict(without, "regression", "score") == ""


def test_a_candidate_without_scores_is_judged_by_what_its_predictor_reads(small: Frames, informative: bool) -> None:
    """Without features of the mix a candidate has a forecast, unless the predictor in use is the one with the mix."""
    candidate = "model-03"
    features, results = with_mix(small, informative, missing=candidate)
    # Halfway between the others in all that is known of it: inside the range.
    middle = features.group_by("feature").agg(pl.col("value").median().alias("middle"))
    moved = features.join(middle, on="feature").with_columns(
        value=pl.when(pl.col("model_id") == candidate).then("middle").otherwise("value")
    )
    observed = results.filter(pl.col("model_id") != candidate)
    fits = leave_out(make_design(moved.drop("middle"), observed), settings=SETTINGS)
    (forecast,) = forecasts(fits, 0)
    assert (forecast.predictor == WITH_MIX) == informative
    if informative:
        assert "mix_presence_book" in forecast.abstention or forecast.predicted is not None
    else:
        assert forecast.abstention == "" and forecast.predicted is not None


def test_too_few_scored_models_leave_the_mix_out(small: Frames) -> None:
    """Below the share of models that a feature needs there is no net with the mix, and the placebo goes with it."""
    features, results = with_mix(small, True)
    few = sorted(set(features["model_id"]))[:10]
    kept = features.filter(~pl.col("feature_kind").is_in(["mix", "placebo"]) | pl.col("model_id").is_in(few))
    design = make_design(kept, results)
    assert set(design.columns.nets) == {ELASTIC_NET}
    assert set(ten_fold(design, settings=SETTINGS).fits[0].grids) == {ELASTIC_NET}
    assert {name for name in design.table.excluded["feature"] if name.startswith("placebo")} == set()
    assert "mix_presence_book" in set(design.table.excluded["feature"])

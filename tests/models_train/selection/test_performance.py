"""From frames to landed rows, on a small simulated study, and the recommendation made of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models_train.errors import UserError
from models_train.selection.design import WITH_MIX, WITH_PLACEBO
from models_train.selection.performance import (
    FITTED,
    PerformanceResult,
    PerformanceSettings,
    compare,
    mix_verdict,
    performance,
    verdict,
)
from models_train.selection.predictors import SELECTED, SIMPLEST_FIRST
from models_train.selection.protocols import Forecast
from models_train.selection.recommendation import recommend
from models_train.selection.scores import coverage_at_k
from warehouse.contracts import PERFORMANCE_TABLES

pytestmark = pytest.mark.slow

Frames = tuple[pl.DataFrame, pl.DataFrame]
FRAMES = (*FITTED, "comparisons")
QUICK = PerformanceSettings(n_bootstraps=40)
GROUPS = pl.DataFrame(
    {"params_b_from": [0.0, 4.0], "params_b_below": [4.0, None], "default_model_id": ["model-00", "model-01"]}
)


def with_candidates(features: pl.DataFrame) -> pl.DataFrame:
    """Three models without a result: like model-00, far too large, and with two values only."""
    one = features.filter(pl.col("model_id") == "model-00").with_columns(publisher=pl.lit(None, dtype=pl.String))
    size = pl.when(pl.col("feature") == "params_b").then(70.0).otherwise(pl.col("value"))
    known = one.filter(pl.col("feature").is_in(["params_b", "benchmark_1"]))
    return pl.concat(
        [
            features,
            one.with_columns(model_id=pl.lit("new-like-00")),
            one.with_columns(model_id=pl.lit("new-70b"), value=size),
            known.with_columns(model_id=pl.lit("new-unknown")),
        ]
    )


@pytest.fixture(scope="module")
def answer(small: Frames) -> PerformanceResult:
    return performance(with_candidates(small[0]), small[1], ["regression"], ["score"], QUICK)


def test_frames_have_their_columns_and_every_combination_once(answer: PerformanceResult) -> None:
    for name in FRAMES:
        columns = PERFORMANCE_TABLES[f"performance_{name}"].schema.names[1:-1]
        assert getattr(answer, name).columns == columns
    key = ["objective", "target", "protocol", "predictor"]
    assert answer.scores.select(key).is_unique().all()
    assert answer.predictions.select(*key, "model_id").is_unique().all()
    ordinary = [name for name in SIMPLEST_FIRST if name not in (WITH_MIX, WITH_PLACEBO)]
    assert answer.scores.height == 3 * len(ordinary) + 1
    nested = answer.scores.filter(pl.col("predictor") == SELECTED)
    assert nested["protocol"].to_list() == ["leave_publisher_out"]
    assert answer.predictions.height == 20 * answer.scores.height
    assert answer.abstentions.is_empty()
    assert answer.largest_gap <= 1e-12


def test_scores_recompute_from_predictions(answer: PerformanceResult) -> None:
    for row in answer.scores.iter_rows(named=True):
        mine = answer.predictions.filter(protocol=row["protocol"], predictor=row["predictor"])
        error = (mine["predicted"] - mine["observed"]).abs().mean()
        assert row["mae"] == pytest.approx(error)
        assert row["mae_low"] <= row["mae"] <= row["mae_high"]
        expected = coverage_at_k(mine["predicted"].to_numpy(), mine["observed"].to_numpy(), 5)
        assert row["coverage_at_5"] == pytest.approx(expected)


def test_comparisons_recompute_from_predictions(answer: PerformanceResult) -> None:
    held_out = answer.predictions.filter(protocol="leave_publisher_out")
    errors = {
        str(name): (mine["predicted"] - mine["observed"]).abs()
        for (name,), mine in held_out.sort("model_id").group_by("predictor")
    }
    assert answer.comparisons.height == 2 * (len(errors) - 1)
    assert answer.comparisons["n"].unique().to_list() == [20]
    for row in answer.comparisons.iter_rows(named=True):
        mine, base = errors[row["predictor"]], errors[row["reference"]]
        assert row["mae"] == pytest.approx(mine.mean())
        assert row["reference_mae"] == pytest.approx(base.mean())
        assert row["difference"] == pytest.approx((mine - base).mean())
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert answer.comparisons.equals(compare(answer.predictions, QUICK.n_bootstraps, QUICK.seed))


def test_coverage_has_its_chance_level(answer: PerformanceResult) -> None:
    assert sorted(answer.predicted_coverage["k"].unique()) == [5, 10, 15, 20]
    full = answer.predicted_coverage.filter(k=20)
    assert (full["coverage"] - 1).abs().max() < 1e-12
    assert full["chance"].unique().to_list() == [1.0]


def test_in_sample_folds_are_empty_and_left_out_folds_are_publishers(answer: PerformanceResult) -> None:
    folds = dict(answer.predictions.group_by("protocol").agg(pl.col("fold").unique().sort()).iter_rows())
    assert folds["paper_in_sample"] == [None]
    assert folds["leave_publisher_out"] == [f"publisher-{i:02d}" for i in range(5)]


def test_a_prediction_outside_the_training_range_is_marked(answer: PerformanceResult, small: Frames) -> None:
    """The largest model is outside the range of the models of other publishers, unless one is larger."""
    sizes = small[0].filter(feature="params_b").sort("value")
    largest = sizes["model_id"][-1]
    mine = answer.predictions.filter(model_id=largest, predictor="elastic_net")
    assert dict(mine.select("protocol", "in_hull").iter_rows())["leave_publisher_out"] is False
    assert dict(mine.select("protocol", "in_hull").iter_rows())["paper_in_sample"] is True


def test_true_features_are_kept_by_the_elastic_net(answer: PerformanceResult) -> None:
    rows = answer.coefficients.filter(protocol="leave_publisher_out")
    kept = dict(rows.select("feature", "coefficient").iter_rows())
    assert kept["benchmark_1"] > 1
    assert kept["benchmark_2"] < -1
    assert kept["params_b"] > 1
    assert rows["selection_frequency"].is_between(0, 1).all()


def test_candidates_get_a_prediction_or_a_reason(answer: PerformanceResult) -> None:
    found = {forecast.model_id: forecast for forecast in answer.forecasts["regression", "score"]}
    like = found["new-like-00"]
    assert like.predicted is not None and like.low is not None and like.high is not None
    assert like.low <= like.predicted <= like.high
    assert like.draws.size == 40
    assert found["new-70b"].predicted is None
    assert "params_b 70 (seen:" in found["new-70b"].abstention
    assert found["new-unknown"].predicted is None
    assert "4 of 7 features are missing" in found["new-unknown"].abstention


def test_the_same_input_gives_the_same_output(small: Frames, answer: PerformanceResult) -> None:
    shuffled = with_candidates(small[0]).sample(fraction=1, shuffle=True, seed=3)
    again = performance(shuffled, small[1].reverse(), ["regression"], ["score"], QUICK)
    for name in FRAMES:
        assert getattr(again, name).equals(getattr(answer, name)), name


def test_too_little_data_is_an_abstention_and_never_a_number(small: Frames) -> None:
    features, results = small
    alone = performance(features.with_columns(publisher=pl.lit("alone")), results, ["regression"], ["score"], QUICK)
    few = performance(features, results.head(5), ["regression"], ["score"], QUICK)
    same = performance(features, results.with_columns(score=pl.lit(70.0)), ["regression"], ["score"], QUICK)
    none = performance(features, results, ["bradley_terry"], ["score"], QUICK)
    for answer, words in (
        (alone, "1 publisher(s)"),
        (few, "5 models have both"),
        (same, "nothing to predict"),
        (none, "no model has a score"),
    ):
        assert words in answer.abstentions["reason"][0]
        assert answer.predictions.is_empty() and answer.scores.is_empty() and not answer.forecasts


def test_a_nan_target_stops_everything(small: Frames) -> None:
    nan = pl.when(pl.col("model_id") == "model-04").then(float("nan")).otherwise("score")
    broken = small[1].with_columns(score=nan)
    with pytest.raises(UserError, match="score of model model-04"):
        performance(small[0], broken, ["regression"], ["score"], QUICK)


def made(errors: dict[str, float]) -> pl.DataFrame:
    """Predictions of 12 models from 4 publishers that miss by the given number of points, slightly spread."""
    observed = np.linspace(60, 90, 12)
    spread = np.tile([0.9, 1.0, 1.1], 4)
    return pl.concat(
        pl.DataFrame(
            {
                "model_id": [f"m{i:02d}" for i in range(12)],
                "objective": "regression",
                "target": "score",
                "protocol": "leave_publisher_out",
                "predictor": name,
                "predicted": observed + error * spread,
                "observed": observed,
                "fold": [f"p{i // 3}" for i in range(12)],
            }
        )
        for name, error in errors.items()
    )


def test_differences_are_paired() -> None:
    table = compare(made({"log10_params": 4.0, "selected": 3.0, "mean": 6.0}))
    assert table["predictor"].to_list() == ["mean", "selected"]
    assert table["reference"].to_list() == ["log10_params", "log10_params"]
    row = table.row(1, named=True)
    assert (row["n"], row["mae"], row["reference_mae"]) == (12, pytest.approx(3.0), pytest.approx(4.0))
    assert row["difference"] == pytest.approx(-1.0)
    assert row["difference_low"] == pytest.approx(-1.0)
    assert row["difference_high"] == pytest.approx(-1.0)
    assert table["verdict"].to_list() == ["worse", "better"]


@pytest.mark.parametrize(
    ("errors", "start"),
    [
        ({"log10_params": 4.0, "selected": 3.0, "mean": 6.0}, "Size alone is beaten: "),
        ({"log10_params": 4.0, "selected": 5.0, "mean": 6.0}, "Nothing reliably beats size alone: "),
        ({"log10_params": 4.0, "selected": 5.0, "elastic_net": 3.0}, "Nested selection does not reliably beat"),
    ],
)
def test_the_sentence(errors: dict[str, float], start: str) -> None:
    sentence = verdict(compare(made(errors)), "regression", "score")
    assert sentence.startswith(start)
    assert f"{errors['selected']:.1f} points with nested selection and 4.0 with log10 size" in sentence


def test_without_a_reference_nothing_is_compared() -> None:
    assert compare(made({"mean": 1.0, "selected": 2.0})).is_empty()


def test_an_interval_around_zero_decides_nothing() -> None:
    frame = made({"log10_params": 4.0, "selected": 4.0})
    other_way = pl.col("fold").is_in(["p0", "p1"]) & (pl.col("predictor") == "selected")
    uneven = frame.with_columns(predicted=pl.when(other_way).then(pl.col("observed") + 3).otherwise("predicted") + 0.5)
    (row,) = compare(uneven).to_dicts()
    assert row["difference_low"] < row["difference"] < 0 <= row["difference_high"]
    assert row["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("without", "mix", "placebo", "start"),
    [
        (3.0, 2.0, 3.0, "The pre-training mix improves the prediction: "),
        (3.0, 2.0, 1.0, "The pre-training mix improves the prediction no more than a placebo does: "),
        (2.0, 3.0, 4.0, "The pre-training mix beats a placebo but does not"),
        (2.0, 3.0, 2.0, "The pre-training mix does not reliably improve"),
    ],
)
def test_the_mix_has_to_beat_both(without: float, mix: float, placebo: float, start: str) -> None:
    sentence = mix_verdict(
        compare(made({"elastic_net": without, WITH_MIX: mix, WITH_PLACEBO: placebo})), "regression", "score"
    )
    assert sentence.startswith(start)
    assert f"is {mix:.1f} points with it" in sentence


def test_a_placebo_does_not_count_against_size() -> None:
    sentence = verdict(compare(made({"log10_params": 4.0, "selected": 5.0, WITH_PLACEBO: 1.0})), "regression", "score")
    assert sentence.startswith("Nothing reliably beats size alone: ")


def ranked(forecasts: tuple[Forecast, ...] = ()) -> pl.DataFrame:
    results = pl.DataFrame(
        {
            "objective": "regression",
            "model_id": ["model-00", "model-01", "model-02"],
            "score": [70.0, 80.0, 80.0],
            "score_standard_error_approximate": [0.6, 0.6, 0.6],
            "run_deviation": [0.8, 0.8, 0.8],
        }
    )
    names = ["model-00", "model-01", "model-02", "new-a", "new-b"]
    models = pl.DataFrame({"model_id": names, "params_b": [2.0, 5.0, 8.03, 3.0, 3.0]})
    return recommend("regression", results, models, GROUPS, forecasts, limits=(1.0, 8.0, None))


def test_recommendation_ranks_within_the_limit() -> None:
    table = ranked()
    assert table.columns == PERFORMANCE_TABLES["recommendations"].schema.names[1:-1]
    assert table["size_limit_b"].unique(maintain_order=True).to_list() == [8.0, None]
    eight = table.filter(size_limit_b=8.0)
    assert eight["model_id"].to_list() == ["model-01", "model-02", "model-00"], "8.03 is of the 8B class"
    free = table.filter(pl.col("size_limit_b").is_null())
    assert free["rank"].to_list() == [1, 2, 3]
    assert free["probability_best"].sum() == pytest.approx(1)
    assert free["probability_best"][0] == pytest.approx(0.5, abs=0.02)
    assert free["gain_points_over_default"].to_list() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(free["interval_high"] - free["expected_score"], 1.6448536, atol=1e-6)
    assert free["reason"][0].startswith(
        "Measured 80.0, the highest of 3 models, not distinguishable from 1 other; it is"
    )
    assert "behind model-01, not distinguishable from it;" in free["reason"][1]
    assert "10.0 points behind model-01; it is the default" in free["reason"][2]


def test_the_chance_of_being_best_falls_with_the_noise_of_training_runs() -> None:
    """The published scores and approximate errors around gemma-2-9b-it: 94 % without run-to-run noise, 76 % with 1."""
    scores = {"gemma-2-9b-it": (88.1, 0.65), "Qwen2.5-7B-Instruct": (86.5, 0.71), "Phi-3-small": (85.9, 0.72)}
    models = pl.DataFrame({"model_id": list(scores), "params_b": 7.0})
    for deviation, expected in ((0.0, 0.94), (1.0, 0.77)):
        results = pl.DataFrame(
            [
                {"objective": "regression", "model_id": name, "score": score, "score_standard_error_approximate": error}
                for name, (score, error) in scores.items()
            ]
        ).with_columns(run_deviation=deviation)
        table = recommend("regression", results, models, GROUPS, limits=(None,))
        assert table["probability_best"][0] == pytest.approx(expected, abs=0.02)
        width = table["interval_high"][0] - table["interval_low"][0]
        assert width == pytest.approx(2 * 1.645 * np.hypot(0.65, deviation), rel=1e-3)


def test_recommendation_mixes_measured_and_predicted_and_abstains() -> None:
    good = Forecast("new-a", "pc_ridge", 85.0, 70.0, 95.0, "", np.linspace(70, 95, 40))
    silent = Forecast("new-b", "pc_ridge", None, None, None, "its number of parameters is not known", np.empty(0))
    table = ranked((good, silent)).filter(size_limit_b=8.0)
    assert table["model_id"].to_list() == ["new-a", "model-01", "model-02", "model-00", "new-b"]
    assert table["basis"].to_list() == ["predicted", "observed", "observed", "observed", "predicted"]
    assert table["gain_points_over_default"][0] == 15.0
    assert "pc_ridge predicts 85.0 (70.0 to 95.0)" in table["reason"][0]
    last = table.row(4, named=True)
    numbers = ("rank", "expected_score", "interval_low", "interval_high", "gain_points_over_default")
    assert all(last[name] is None for name in (*numbers, "probability_best"))
    assert last["reason"] == "No recommendation: its number of parameters is not known."


def test_a_measured_model_needs_its_size() -> None:
    results = pl.DataFrame({"objective": "regression", "model_id": ["x"], "score": [70.0], "run_deviation": [0.7]})
    models = pl.DataFrame({"model_id": ["y"], "params_b": [1.0]})
    with pytest.raises(UserError, match="model x has a result but no params_b"):
        recommend("regression", results, models, GROUPS)

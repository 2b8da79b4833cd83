"""From frames to landed rows, on a small simulated study, and the recommendation made of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models_train.errors import UserError
from models_train.selection.chance import chances, held_out
from models_train.selection.design import Design
from models_train.selection.leave_out import LeaveOut
from models_train.selection.performance import (
    FITTED,
    PerformanceResult,
    PerformanceSettings,
    compare,
    mix_verdict,
    performance,
    verdict,
)
from models_train.selection.predictors import AVERAGE, COMBINED, PLAIN_AVERAGE, SIMPLEST_FIRST, WITH_MIX
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
    """Models without a result: like model-00, far too large, with size and tokens alone, and without a size."""
    one = features.filter(pl.col("model_id") == "model-00").with_columns(publisher=pl.lit(None, dtype=pl.String))
    size = pl.when(pl.col("feature") == "params_b").then(70.0).otherwise(pl.col("value"))
    known = one.filter(pl.col("feature").is_in(["params_b", "tokens_t"]))
    return pl.concat(
        [
            features,
            one.with_columns(model_id=pl.lit("new-like-00")),
            one.with_columns(model_id=pl.lit("new-70b"), value=size),
            known.with_columns(model_id=pl.lit("new-bare")),
            known.filter(feature="tokens_t").with_columns(model_id=pl.lit("new-unknown")),
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
    assert answer.scores.height == 3 * len(SIMPLEST_FIRST) + len(COMBINED)
    nested = answer.scores.filter(pl.col("predictor").is_in(COMBINED))
    assert nested["protocol"].to_list() == ["leave_publisher_out"] * 3
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
    assert answer.comparisons.height == 3 * (len(errors) - 1)
    assert answer.comparisons["n"].unique().to_list() == [20]
    for row in answer.comparisons.iter_rows(named=True):
        mine, base = errors[row["predictor"]], errors[row["reference"]]
        assert row["mae"] == pytest.approx(mine.mean())
        assert row["reference_mae"] == pytest.approx(base.mean())
        assert row["difference"] == pytest.approx((mine - base).mean())
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        assert row["publisher_difference_low"] <= row["publisher_difference"] <= row["publisher_difference_high"]
    assert answer.comparisons.equals(compare(answer.predictions))


def test_coverage_has_its_chance_level(answer: PerformanceResult) -> None:
    assert sorted(answer.predicted_coverage["k"].unique()) == [5, 10, 15, 20]
    full = answer.predicted_coverage.filter(k=20)
    assert (full["coverage"] - 1).abs().max() < 1e-12
    assert (full["chance"] - 1).abs().max() < 1e-12
    by_protocol = answer.predicted_coverage.filter(k=5, predictor="mean").select("protocol", "chance")
    chance = dict(by_protocol.iter_rows())
    assert chance["paper_in_sample"] == chance["paper_10_fold"] == 0.25
    assert chance["leave_publisher_out"] < 0.2, "folds trained apart are not one ranking"


def test_chance_is_the_mean_over_permuted_results(small_design: Design) -> None:
    """Other permutations, one by one through the nested folds: the same chance to 0.01."""
    reported = chances(small_design, 0, n_permutations=4000)
    generator = np.random.default_rng(99)
    found: dict[str, list[float]] = {name: [] for name in reported}
    shuffled = np.column_stack([generator.permutation(small_design.targets[:, 0]) for _ in range(4000)])
    for name, values in held_out(replace(small_design, targets=shuffled)).items():
        found[name] = [coverage_at_k(*pair, 5) for pair in zip(values, shuffled.T, strict=True)]
    for name, values in found.items():
        assert reported[name].coverage[5] == pytest.approx(np.mean(values), abs=0.01), name


def test_quick_predictions_are_those_of_the_fits(small_fits: LeaveOut) -> None:
    """The permuted results go through the same folds as the real ones."""
    design = small_fits.design
    quick = held_out(design)
    for fold in range(len(design.fold_names)):
        rows, left = np.flatnonzero(design.folds == fold), frozenset({fold})
        members = tuple(name for name in small_fits.members if name in quick)
        for name in (*members, AVERAGE, PLAIN_AVERAGE):
            expected = small_fits.predict(name, left, 0, members)[rows]
            np.testing.assert_allclose(quick[name][0, rows], expected, err_msg=name)


def test_in_sample_folds_are_empty_and_left_out_folds_are_publishers(answer: PerformanceResult) -> None:
    folds = dict(answer.predictions.group_by("protocol").agg(pl.col("fold").unique().sort()).iter_rows())
    assert folds["paper_in_sample"] == [None]
    assert folds["leave_publisher_out"] == [f"publisher-{i:02d}" for i in range(5)]


def test_distance_is_judged_where_a_publisher_is_left_out(answer: PerformanceResult) -> None:
    flags = dict(answer.predictions.group_by("protocol").agg(pl.col("is_supported").mean()).iter_rows())
    assert flags["paper_in_sample"] is None and flags["paper_10_fold"] is None
    assert 0.5 < flags["leave_publisher_out"] <= 1


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
    assert "too far from the trained models (distance " in found["new-70b"].abstention
    assert "params_b 70 (seen: " in found["new-70b"].abstention
    assert found["new-unknown"].predicted is None
    assert "no predictor has the features that it needs (missing: benchmark_1, " in found["new-unknown"].abstention


def test_size_and_tokens_alone_give_a_forecast_that_names_its_members(answer: PerformanceResult) -> None:
    """A forecast needs only the features of the predictors that answer."""
    (bare,) = (found for found in answer.forecasts["regression", "score"] if found.model_id == "new-bare")
    assert bare.predictor == "average of log10_params, params_and_tokens and family_size"
    assert bare.predicted is not None and bare.low is not None and bare.low < bare.predicted
    (like,) = (found for found in answer.forecasts["regression", "score"] if found.model_id == "new-like-00")
    assert like.predictor == AVERAGE
    assert bare.high is not None and like.high is not None and like.low is not None
    assert bare.high - bare.low > like.high - like.low, "fewer members, and their own calibration: a wider interval"


def test_a_forecast_ends_at_100_percent(small: Frames) -> None:
    """All results higher by the same points, the best at 100: everything moves along, but for what is above 100."""
    features, results = small
    ((best, highest),) = results.top_k(1, by="score").select("model_id", "score").iter_rows()
    twin = features.filter(pl.col("model_id") == best).with_columns(model_id=pl.lit("twin"), publisher=pl.lit(None))
    features, more = pl.concat([features, twin]), 100 - highest

    def forecast(results: pl.DataFrame) -> Forecast:
        (found,) = performance(features, results, ["regression"], ["score"], QUICK).forecasts["regression", "score"]
        return found

    before, after = forecast(results), forecast(results.with_columns(pl.col("score") + more))
    assert before.predicted is not None and before.low is not None and before.high is not None
    assert before.high + more > 100 and after.high == after.draws.max() == 100
    # The sigmoid link knows of 100: it alone does not move along to the digit.
    assert (after.predicted, after.low) == pytest.approx((before.predicted + more, before.low + more), abs=0.5)
    assert (np.asarray(after.draws) == 100).sum() == pytest.approx((before.draws + more >= 100).sum(), abs=2)


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
    table = compare(made({"log10_params": 4.0, "average": 3.0, "mean": 6.0}))
    assert table["predictor"].to_list() == ["average", "mean", "average", "log10_params"]
    assert table["reference"].to_list() == ["log10_params"] * 2 + ["mean"] * 2
    row = table.row(0, named=True)
    assert (row["n"], row["mae"], row["reference_mae"]) == (12, pytest.approx(3.0), pytest.approx(4.0))
    assert row["difference"] == pytest.approx(-1.0)
    assert row["difference_low"] == pytest.approx(-1.0)
    assert row["difference_high"] == pytest.approx(-1.0)
    assert row["publisher_difference"] == pytest.approx(-1.0)
    assert table["verdict"].to_list() == ["better", "worse", "better", "better"]


def test_publishers_weigh_by_their_models_or_all_the_same() -> None:
    frame = made({"log10_params": 4.0, "average": 4.0})
    better = (pl.col("fold") == "p0") & (pl.col("predictor") == "average")
    few = frame.with_columns(predicted=pl.when(better).then(pl.col("observed") + 1).otherwise("predicted")).filter(
        (pl.col("fold") != "p0") | (pl.col("model_id") == "m01")
    )
    (row,) = compare(few).to_dicts()
    assert row["difference"] == pytest.approx(-3 / 10)
    assert row["publisher_difference"] == pytest.approx(-3 / 4)


@pytest.mark.parametrize(
    ("errors", "start"),
    [
        ({"log10_params": 4.0, "average": 3.0, "mean": 6.0}, "Size alone is beaten: "),
        ({"log10_params": 4.0, "average": 5.0, "mean": 6.0}, "The average of the predictors is not shown to beat size"),
        ({"log10_params": 4.0, "average": 5.0, "mean": 3.0}, "Nothing, size included, is shown to predict better than"),
    ],
)
def test_the_sentence(errors: dict[str, float], start: str) -> None:
    sentence = verdict(compare(made(errors)), "regression", "score")
    assert sentence.startswith(start)
    assert f"{errors['average']:.1f} points with the average and 4.0 with log10 size" in sentence


def test_without_a_reference_nothing_is_compared() -> None:
    assert compare(made({"pc_ridge": 1.0, "selected": 2.0})).is_empty()


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
        (2.0, 3.0, 4.0, "The pre-training mix beats its placebos but does not"),
        (2.0, 3.0, 2.0, "The pre-training mix does not reliably improve"),
    ],
)
def test_the_mix_has_to_beat_both(without: float, mix: float, placebo: float, start: str) -> None:
    draws = {("regression", "score"): placebo + np.linspace(-0.5, 0.5, 100)}
    comparisons = compare(made({"elastic_net": without, WITH_MIX: mix}), draws)
    sentence = mix_verdict(comparisons, "regression", "score")
    assert sentence.startswith(start)
    assert f"is {mix:.1f} points with it" in sentence
    row = comparisons.row(by_predicate=pl.col("reference") == "placebo", named=True)
    assert row["difference_high"] == pytest.approx(mix - placebo + 0.45)


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

"""The sections of the performance model: the verdict in every direction, in-sample labels, abstentions."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest

from models_train.selection import performance as science
from tests.support.marts_database import study_of
from warehouse.reports import page, queries
from warehouse.reports.page import compose
from warehouse.reports.topics import coefficients, components, prediction

pytestmark = pytest.mark.slow

CREATED = datetime(2025, 5, 16, tzinfo=UTC)
MARTS = (
    "fct_performance_predictions",
    "fct_performance_coefficients",
    "fct_performance_scores",
    "fct_performance_comparisons",
    "fct_predicted_coverage",
    "fct_performance_choices",
    "fct_performance_abstentions",
    "fct_performance_excluded_features",
    "fct_capability_components",
    "fct_recommendations",
)


def plain(text: str) -> str:
    body = text.split("<main")[1].split("</main>")[0]
    body = re.sub(r"<script.*?</script>", "", body, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " "))


def written(connection: duckdb.DuckDBPyConnection) -> str:
    return plain(compose(connection, "test", CREATED).text)


@pytest.fixture
def changeable(builder, tmp_path: Path):
    path = builder.write_marts(tmp_path / "changeable.duckdb", [builder.small_study()])
    with duckdb.connect(str(path)) as connection:
        yield connection


def simulated(errors: dict[str, float], seed: int = 3) -> pl.DataFrame:
    """Leave-publisher-out predictions of 40 models of 8 publishers with about these mean absolute errors."""
    generator = np.random.default_rng(seed)
    observed = 70 + 8 * generator.standard_normal(40)
    frames = [
        pl.DataFrame(
            {
                "objective": "regression",
                "target": "score",
                "protocol": "leave_publisher_out",
                "predictor": name,
                "model_id": [f"model {place:02d}" for place in range(40)],
                "predicted": observed + error * generator.choice([-1.0, 1.0], 40) * generator.uniform(0.5, 1.5, 40),
                "observed": observed,
                "fold": [f"publisher {place % 8}" for place in range(40)],
            }
        )
        for name, error in errors.items()
    ]
    return pl.concat(frames)


def compared(errors: dict[str, float], placebos: np.ndarray | None = None) -> pl.DataFrame:
    """The comparisons of simulated predictions, in the order of the topic."""
    draws = None if placebos is None else {("regression", "score"): placebos}
    return science.compare(simulated(errors), draws).sort("reference", "mae", "predictor")


@pytest.mark.parametrize(
    ("errors", "level", "headline", "science_side"),
    [
        (
            {"log10_params": 4, "elastic_net": 4.2, "average": 4.3, "mean": 7},
            "none",
            "Nothing beats size alone out of fold.",
            "The average of the predictors is not shown to beat size",
        ),
        (
            {"log10_params": 4, "elastic_net": 4.2, "average": 4.3, "mean": 4},
            "none",
            "Nothing, size included, is shown to predict better than the mean of the results.",
            "Nothing, size included, is shown to predict better",
        ),
        (
            {"log10_params": 4, "elastic_net": 2, "pc_ridge": 5, "average": 4, "mean": 7},
            "hindsight",
            "The average of the predictors does not beat size alone out of fold, although elastic net would have.",
            "The average of the predictors is not shown to beat size",
        ),
        (
            {"log10_params": 4, "elastic_net": 2, "average": 2, "mean": 7},
            "beaten",
            "The average of the predictors beats size alone out of fold.",
            "Size alone is beaten",
        ),
    ],
)
def test_the_verdict_follows_from_the_data_and_agrees_with_the_science_side(
    errors: dict[str, float], level: str, headline: str, science_side: str
):
    comparisons = compared(errors)
    found = prediction.verdict(comparisons)
    assert found[:2] == (level, headline)
    assert science.verdict(comparisons, "regression", "score").startswith(science_side)
    size = simulated(errors).filter(predictor="log10_params")
    mae = (size["predicted"] - size["observed"]).abs().mean()
    assert f"and {mae:.1f} with size alone" in found[2]
    assert ("Predictions are therefore shrunk to the mean." in found[2]) == ("size included" in headline)


@pytest.mark.parametrize(
    ("without", "mix", "placebo", "start"),
    [
        (4, 2, 4, "The pre-training mix improves the elastic net out of fold, and beats its placebos: "),
        (4, 2, 2, "The pre-training mix improves the elastic net out of fold, but no more than a placebo does: "),
        (2, 4, 6, "The pre-training mix does not improve the elastic net out of fold: "),
    ],
)
def test_the_mix_has_to_beat_its_placebos(without: float, mix: float, placebo: float, start: str):
    comparisons = compared({"elastic_net": without, "elastic_net_with_mix": mix}, placebo + np.linspace(-0.5, 0.5, 100))
    assert prediction.mix_sentence(comparisons).startswith(start)
    assert prediction.mix_sentence(comparisons.filter(pl.col("predictor") != "elastic_net_with_mix")) == ""
    improves = science.mix_verdict(comparisons, "regression", "score").startswith("The pre-training mix improves")
    assert improves == (without > mix)


def verdict(errors: dict[str, float]) -> tuple[str, str, str]:
    return prediction.verdict(compared(errors))


def test_variants_of_other_predictors_win_nothing():
    errors = {"log10_params": 4, "average": 4.3, "elastic_net_with_mix": 1, "average_without_shrinkage": 1}
    assert verdict(errors)[0] == "none"


def test_the_verdict_needs_a_size_baseline_and_a_predictor_to_compare():
    for errors in ({"elastic_net": 2.0}, {"log10_params": 4.0}):
        assert verdict(errors)[0] == "unknown"
    level, _, detail = verdict({"log10_params": 4, "mean": 6})
    assert level == "none" and "points with mean, no feature and" in detail


def test_the_sentence_turns_with_the_comparisons(changeable: duckdb.DuckDBPyConnection):
    changeable.execute(
        "update marts.fct_performance_comparisons set mae = 9, reference_mae = 9, difference = 0, difference_low = -1, "
        "difference_high = 1"
    )
    text = written(changeable)
    assert text.count("Nothing, size included, is shown to predict better than the mean of the results.") == 2
    changeable.execute(
        "update marts.fct_performance_comparisons set mae = 1, difference = -8, difference_low = -9, "
        "difference_high = -7 where predictor = 'average'"
    )
    text = written(changeable)
    assert text.count("The average of the predictors beats size alone out of fold.") == 2
    assert "Nothing, size included" not in text
    assert "1.0 points with the average of the predictors and 9.0 with size alone" in text


def test_in_sample_and_out_of_fold_errors_are_side_by_side(ordinary: duckdb.DuckDBPyConnection):
    scores = prediction.prediction_errors(study_of(ordinary)).filter(objective="regression")
    text = written(ordinary)
    for predictor, protocol, words in (
        ("elastic_net", "paper_in_sample", "elastic net in-sample"),
        ("elastic_net", "paper_10_fold", "elastic net ten folds"),
        ("elastic_net", "leave_publisher_out", "elastic net publisher left out"),
        ("mean", "leave_publisher_out", "mean, no feature publisher left out"),
        ("log10_params", "leave_publisher_out", "size alone publisher left out"),
        ("params_and_tokens", "leave_publisher_out", "size and tokens publisher left out"),
    ):
        row = scores.filter(predictor=predictor, protocol=protocol).row(0, named=True)
        assert f"{words} {row['mae']:.1f} {row['mae_low']:.1f} to {row['mae_high']:.1f}" in text
    assert "In-sample, error" in text and "Publisher left out, error" in text
    assert "In-sample, setting chosen by ten folds (as the paper)" in text
    assert "Elastic net, in-sample" in text


def test_abstentions_and_left_out_features_are_named(ordinary: duckdb.DuckDBPyConnection):
    text = written(ordinary)
    assert "No performance model for Safety under Bradley-Terry: too little data for model-2B-0." in text
    assert "1 feature is left out of the model, for the reasons in the table below: rare_benchmark." in text
    assert "Too few models have a value, below the stated share of 75%." in text
    assert "No recommendation is given for candidatemodel-2B-0; the reasons are below." in text
    assert "Its number of parameters is not knownmodel-2B-0." in text
    assert re.search(r"15 of 2\d terms are shown; the database holds the other \d+\.", text)


def test_a_feature_left_out_for_one_objective_names_it(changeable: duckdb.DuckDBPyConnection):
    changeable.execute("delete from marts.fct_performance_excluded_features where objective = 'regression'")
    assert "rare_benchmark (Bradley-Terry only)" in written(changeable)


@pytest.mark.parametrize("way", ["missing", "empty", "abstained"])
def test_without_a_performance_model_the_sections_say_so_and_why(changeable: duckdb.DuckDBPyConnection, way: str):
    for name in MARTS:
        changeable.execute(f"drop table marts.{name}" if way == "missing" else f"delete from marts.{name}")
    if way == "abstained":
        changeable.execute(
            "insert into marts.fct_performance_abstentions by name select 'published' as study_id, "
            "unnest(['regression', 'bradley_terry']) as objective, 'score' as target, '5 models, 8 needed' as reason"
        )
    why = {
        "missing": ": none has been fitted in this warehouse",
        "empty": " yet: it follows the first answer of `make run`",
        "abstained": ": 5 models, 8 needed",
    }[way]
    composed = compose(changeable, "test", CREATED)
    text = plain(composed.text)
    assert text.count(f"There is no performance model for this study{why}.") == 4
    assert "There are no recommendations for this study" in text
    assert "There are no capability components for this study" in text
    assert [len(one.sections) for one in composed.pages] == [14]
    assert not [name for name in composed.specs if "predict" in name or "coefficients" in name or "component" in name]
    assert [name for name in composed.specs if "correlations" in name]


@pytest.mark.parametrize("name", MARTS)
def test_one_missing_mart_of_the_performance_model_leaves_the_page_whole(
    changeable: duckdb.DuckDBPyConnection, name: str
):
    changeable.execute(f"drop table marts.{name}")
    row = queries.studies(changeable).row(0, named=True)
    assert len(page.study_page(changeable, row, "published").sections) == 14


def test_equal_settings_are_stated(ordinary: duckdb.DuckDBPyConnection):
    read = study_of(ordinary)
    frame = coefficients.coefficients(read).filter(objective="regression")
    settings = coefficients.final_settings(read)
    unlike = coefficients.figure(frame, settings, "regression", read).caption
    assert "same setting" not in unlike and "degree 2, alpha 0.1 and L1 ratio 0.5" in unlike
    first = frame.filter(protocol="paper_in_sample")
    both = pl.concat([first, first.with_columns(protocol=pl.lit("leave_publisher_out"))])
    assert "Both ways chose the same setting" in coefficients.figure(both, settings, "regression", read).caption


def test_components_state_their_cumulative_share_and_their_basis(ordinary: duckdb.DuckDBPyConnection):
    shares = components.component_shares(components.components(study_of(ordinary)))
    assert shares["cumulative_ratio"].to_list() == pytest.approx(shares["explained_variance_ratio"].cum_sum().to_list())
    assert shares["cumulative_ratio"][-1] == pytest.approx(1)
    text = written(ordinary)
    assert "18 models and 4 benchmarks; complete cases; no cell was imputed." in text
    # The paper's share is the paper's study's business.
    assert "96.8" not in text


def test_absence_is_empty_where_there_is_a_model(ordinary: duckdb.DuckDBPyConnection):
    read = study_of(ordinary)
    assert prediction.absence(read, prediction.prediction_errors(read)) == ""

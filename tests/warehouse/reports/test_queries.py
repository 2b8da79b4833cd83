"""Reading the marts: columns, order, errors; and what topics derive from what they read."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest

from models_train.errors import UserError
from tests.support.marts_database import study_of
from warehouse.reports import queries
from warehouse.reports.topics import (
    coefficients,
    components,
    correlations,
    coverage,
    gains,
    objectives,
    post_training,
    predicted_coverage,
    prediction,
    results,
)

STUDY = "published"
READERS = (
    gains.size_group_gains,
    objectives.objective_differences,
    post_training.post_training_stages,
    correlations.feature_pairs,
    coverage.coverage,
    prediction.prediction_errors,
    prediction.predicted,
    prediction.comparisons_of,
    prediction.abstentions,
    prediction.excluded_features,
    coefficients.coefficients,
    coefficients.final_settings,
    predicted_coverage.predicted_coverage,
    components.components,
    results.reward_model_results,
    lambda study: queries.size_group_winners(study.connection, study.study_id),
    lambda study: queries.base_models(study.connection, study.study_id),
    lambda study: queries.recommendations(study.connection, study.study_id),
)


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_names_its_columns_and_keeps_one_order(ordinary: duckdb.DuckDBPyConnection, reader):
    frame = reader(study_of(ordinary))
    assert frame.height > 0
    assert "study_id" not in frame.columns
    assert frame.equals(reader(study_of(ordinary)))
    assert reader(study_of(ordinary, "no such study")).height == 0


def test_features_come_in_the_order_of_their_correlation_with_the_score(ordinary: duckdb.DuckDBPyConnection):
    pairs = correlations.feature_pairs(study_of(ordinary))
    frame = correlations.tested(pairs).filter(objective="regression")
    score = frame.filter(target="score")["pearson"].abs().to_list()
    assert score == sorted(score, reverse=True)
    assert frame["target"].to_list()[:5] == ["score", "chat", "chat_hard", "safety", "reasoning"]
    for row in frame.iter_rows(named=True):
        assert row["evidence"] == (
            "q" if row["clustered_q_value"] < 0.05 else "p" if row["clustered_p_value"] < 0.05 else "none"
        )


def test_a_feature_with_too_few_models_is_listed_apart(ordinary: duckdb.DuckDBPyConnection):
    pairs = correlations.feature_pairs(study_of(ordinary))
    assert correlations.untested_features(pairs).rows() == [("rare_benchmark", 3, "too_few_models")]
    assert "rare_benchmark" not in correlations.tested(pairs)["feature"].to_list()


def test_limits_count_the_features_of_each_number_of_models(ordinary: duckdb.DuckDBPyConnection):
    limits = correlations.correlation_limits(correlations.feature_pairs(study_of(ordinary)))
    assert limits.columns == ["n", "critical_r", "n_features"]
    ((n, critical_r, n_features),) = limits.rows()
    assert (n, n_features) == (18, 7) and critical_r == pytest.approx(0.468, abs=5e-4)


def test_size_is_compared_under_the_same_protocol(ordinary: duckdb.DuckDBPyConnection):
    frame = predicted_coverage.predicted_coverage(study_of(ordinary))
    size = frame.filter(predictor="log10_params")
    assert size["coverage"].to_list() == size["size_coverage"].to_list()
    joined = frame.join(size, on=["objective", "protocol", "k"])
    assert joined["size_coverage"].to_list() == joined["coverage_right"].to_list()
    assert set(frame["n"]) == {18}


def test_coefficients_come_by_weight_and_then_by_stability(ordinary: duckdb.DuckDBPyConnection):
    frame = coefficients.coefficients(study_of(ordinary)).filter(objective="regression")
    order = frame.group_by("feature", maintain_order=True).agg(
        pl.col("coefficient").abs().max(), pl.col("selection_frequency").max(), pl.col("feature_position").unique()
    )
    keys = [(-weight, -chance) for _, weight, chance, _ in order.iter_rows()]
    assert keys == sorted(keys)
    assert order["feature_position"].to_list() == [[place] for place in range(1, order.height + 1)]


def test_a_missing_mart_is_named_with_the_remedy(tmp_path):
    with (
        duckdb.connect(str(tmp_path / "bare.duckdb")) as connection,
        pytest.raises(UserError, match=r"marts\.dim_studies.*dbt build"),
    ):
        queries.studies(connection)


def test_an_optional_mart_may_be_missing_but_not_its_columns(builder, tmp_path):
    path = builder.write_marts(tmp_path / "changed.duckdb", [builder.small_study()])
    with duckdb.connect(str(path)) as connection:
        connection.execute("drop table marts.fct_performance_choices")
        assert coefficients.final_settings(study_of(connection)).columns == []
        connection.execute("alter table marts.fct_performance_scores drop column mae_low")
        with pytest.raises(UserError, match=r"fct_performance_scores.*mae_low"):
            prediction.prediction_errors(study_of(connection))


def test_the_strongest_are_the_first_in_the_frames_order_and_the_rest_is_counted() -> None:
    names = [f"benchmark {number}" for number in range(queries.MOST_DRAWN + 2)][::-1]
    frame = pl.DataFrame({"feature": [name for name in names for _ in range(2)], "row": range(2 * len(names))})
    few, nothing = queries.strongest(frame.head(6), "feature", "the largest |r|", "fct_x")
    assert few.height == 6 and nothing == ""
    drawn, text = queries.strongest(frame, "feature", "the largest |r|", "fct_x")
    assert drawn["feature"].unique(maintain_order=True).to_list() == names[:-2]
    assert text == " Shown are 40 of 42, those with the largest |r|; all are in the table fct_x."


def test_charts_of_many_benchmarks_draw_the_strongest_and_say_so(ordinary: duckdb.DuckDBPyConnection) -> None:
    study = study_of(ordinary)
    pairs = correlations.tested(correlations.feature_pairs(study)).filter(objective="regression", target="score")
    ordered = pairs["pearson"].abs().to_list()
    assert ordered == sorted(ordered, reverse=True)
    lines = coverage.coverage(study).filter(objective="regression")
    keys = [
        (-rows["n"][0], -round(rows["coverage"].mean(), 9), feature)
        for feature, rows in queries.parts(lines, "feature")
    ]
    assert keys == sorted(keys)

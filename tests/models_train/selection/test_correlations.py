"""Correlation statistics on hand-made pairs: tests, abstentions, bootstrap, q values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models_train.selection.correlations import (
    PAIR_COLUMNS,
    correlation_statistics,
    critical_r,
    partial_correlation,
    publisher_bootstrap,
    t_statistic,
)


def cell(
    x: list, y: list, *, target: str = "score", feature: str = "b", publishers: list | None = None
) -> pl.DataFrame:
    n = len(x)
    return pl.DataFrame(
        {
            "study_id": ["s"] * n,
            "objective": ["regression"] * n,
            "target": [target] * n,
            "feature": [feature] * n,
            "model_id": [f"m{i:02}" for i in range(n)],
            "publisher": publishers or [f"p{i % 4}" for i in range(n)],
            "log10_params": np.linspace(0, 1, n),
            "feature_value": np.asarray(x, dtype=float),
            "target_value": np.asarray(y, dtype=float),
        }
    )


def statistics(*cells: pl.DataFrame) -> list[dict]:
    return correlation_statistics(pl.concat(cells), minimum_models=8, resamples=200).to_dicts()


@pytest.mark.parametrize(("n", "printed"), [(40, 0.312), (39, 0.316)])
def test_critical_r_has_p_exactly_one_in_twenty(n: int, printed: float) -> None:
    r = critical_r(n)
    assert round(r, 3) == printed
    t = t_statistic(r, n)
    assert 2 * stats.t.sf(t, n - 2) == pytest.approx(0.05, abs=1e-12)


def test_a_perfect_correlation_has_p_zero_and_no_crash() -> None:
    row = statistics(cell(list(range(10)), list(range(10))))[0]
    assert row["pearson"] == pytest.approx(1)
    assert row["p_value"] == pytest.approx(0, abs=1e-12)


def test_seven_models_are_listed_without_a_test_and_eight_are_tested() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=8), rng.normal(size=8)
    eight, seven = statistics(cell(x[:7], y[:7], feature="seven"), cell(x, y, feature="eight"))
    assert (seven["status"], seven["p_value"], seven["pearson_low"]) == ("too_few_models", None, None)
    assert seven["pearson"] == pytest.approx(stats.pearsonr(x[:7], y[:7]).statistic)
    assert (eight["status"], eight["n"]) == ("tested", 8)
    assert eight["p_value"] == pytest.approx(stats.pearsonr(x, y).pvalue)


def test_a_feature_that_does_not_vary_has_no_correlation() -> None:
    row = statistics(cell([5.0] * 9, list(range(9))))[0]
    assert row["status"] == "constant"
    assert (row["pearson"], row["p_value"], row["q_value"]) == (None, None, None)


def test_two_models_have_no_correlation() -> None:
    assert statistics(cell([1, 2], [1, 2]))[0]["pearson"] is None


def test_q_values_are_over_all_tested_cells_of_the_objective() -> None:
    rng = np.random.default_rng(2)
    cells = [cell(rng.normal(size=12), rng.normal(size=12), feature=f"f{i}") for i in range(5)]
    rows = statistics(*cells, cell([1.0] * 12, list(range(12)), feature="flat"))
    tested = [row for row in rows if row["status"] == "tested"]
    expected = stats.false_discovery_control([row["p_value"] for row in tested])
    assert [row["q_value"] for row in tested] == pytest.approx(list(expected))
    assert len(tested) == 5


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    frame = pl.concat([cell(rng.normal(size=12), rng.normal(size=12), feature=f"f{i}") for i in range(3)])
    once = correlation_statistics(frame, minimum_models=8, resamples=100)
    again = correlation_statistics(frame.sample(fraction=1, shuffle=True, seed=5), minimum_models=8, resamples=100)
    assert once.sort("feature").equals(again.sort("feature"))


def test_bootstrap_by_publisher_equals_drawing_publishers_one_by_one() -> None:
    rng = np.random.default_rng(4)
    publishers = np.repeat(["a", "b", "c", "d", "e"], 4)
    x = rng.normal(size=20)
    y = x + rng.normal(size=20)
    low, high = publisher_bootstrap(x, y, publishers, resamples=4000, seed=7)
    drawn = []
    for _ in range(4000):
        rows = np.concatenate([np.flatnonzero(publishers == p) for p in rng.choice(list("abcde"), 5)])
        drawn.append(np.corrcoef(x[rows], y[rows])[0, 1])
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.05)
    assert publisher_bootstrap(x, y, publishers, resamples=100, seed=7) == publisher_bootstrap(
        x, y, publishers, resamples=100, seed=7
    )


def test_one_publisher_has_no_interval_by_publisher() -> None:
    row = statistics(cell(list(range(9)), [3, 1, 4, 1, 5, 9, 2, 6, 5], publishers=["p"] * 9))[0]
    assert row["bootstrap_low"] is None
    assert row["pearson_low"] is not None


def test_partial_correlation_of_a_variable_with_itself_is_not_a_number() -> None:
    assert partial_correlation(0.5, 1.0, 0.5) is None
    assert partial_correlation(0.5, 0.0, 0.0) == pytest.approx(0.5)


def test_missing_values_are_not_pairs_and_infinite_ones_are_an_error() -> None:
    frame = cell(list(range(9)), list(range(9)))
    holes = frame.with_columns(
        pl.when(pl.col("model_id") == "m03").then(None).otherwise("feature_value").alias("feature_value")
    )
    assert statistics(holes)[0]["n"] == 8
    broken = frame.with_columns(feature_value=pl.lit(float("inf")))
    with pytest.raises(ValueError, match=r"not a finite number.*m00"):
        statistics(broken)
    with pytest.raises(ValueError, match="lacks target_value"):
        correlation_statistics(frame.drop("target_value"), minimum_models=8, resamples=10)


def test_no_pairs_give_no_rows() -> None:
    empty = cell([], [])
    assert set(PAIR_COLUMNS) == set(empty.columns)
    assert correlation_statistics(empty, minimum_models=8, resamples=10).height == 0

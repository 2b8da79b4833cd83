"""Correlation statistics on hand-made pairs: tests, abstentions, intervals over publishers, q values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models_train.selection.correlations import (
    PAIR_COLUMNS,
    correlation_statistics,
    critical_r,
    over_publishers,
    partial_correlation,
    t_statistic,
)
from tests.support.selection_frames import PUBLISHER_SIZES


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
    return correlation_statistics(pl.concat(cells), minimum_models=8).to_dicts()


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
    once = correlation_statistics(frame, minimum_models=8)
    again = correlation_statistics(frame.sample(fraction=1, shuffle=True, seed=5), minimum_models=8)
    assert once.sort("feature").equals(again.sort("feature"))


def test_the_clustered_interval_is_the_jackknife_over_publishers() -> None:
    """Written out for five publishers, r and r given size (from residuals of two regressions on size)."""
    rng = np.random.default_rng(4)
    publishers = ["a"] * 5 + ["b"] * 4 + ["c"] * 4 + ["d"] * 4 + ["e"] * 3
    x = rng.normal(size=20)
    y = x + rng.normal(size=20)
    (row,) = statistics(cell(x, y, publishers=publishers))
    size = np.linspace(0, 1, 20)

    def given_size(keep: np.ndarray) -> float:
        rest = [v[keep] - np.polyval(np.polyfit(size[keep], v[keep], 1), size[keep]) for v in (x, y)]
        return np.corrcoef(*rest)[0, 1]

    whole = np.ones(20, dtype=bool)
    left = [np.array([name != one for name in publishers]) for one in "abcde"]
    for prefix, r in (("clustered", lambda keep: np.corrcoef(x[keep], y[keep])[0, 1]), ("partial", given_size)):
        z, without = np.arctanh(r(whole)), np.arctanh([r(keep) for keep in left])
        error = np.sqrt(4 / 5 * np.sum((without - without.mean()) ** 2))
        ends = np.tanh(z + np.array([-1, 1]) * 2.776445 * error)  # t of 4 degrees of freedom, tables
        assert (row[f"{prefix}_low"], row[f"{prefix}_high"]) == pytest.approx(tuple(ends), abs=1e-6)
        if prefix == "clustered":
            assert row["clustered_p_value"] == pytest.approx(2 * stats.t.sf(z / error, 4))


def test_the_clustered_interval_covers_at_the_sizes_of_the_papers_publishers() -> None:
    """Both variables share half of their variance within a publisher: Fisher's interval would cover about 0.85."""
    rng = np.random.default_rng(5)
    owner = np.repeat(np.arange(10), PUBLISHER_SIZES)
    truth, n = 0.8, 1000
    root = np.linalg.cholesky([[1, truth], [truth, 1]])
    pairs = rng.normal(size=(n, 10, 2))[:, owner] @ root.T + rng.normal(size=(n, 40, 2)) @ root.T
    found = [
        over_publishers(lambda rows, one=one: float(np.corrcoef(one[rows].T)[0, 1]), owner) for one in pairs
    ]  # fmt: skip
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.93


def test_one_publisher_has_no_interval_by_publisher() -> None:
    row = statistics(cell(list(range(9)), [3, 1, 4, 1, 5, 9, 2, 6, 5], publishers=["p"] * 9))[0]
    assert (row["clustered_low"], row["clustered_p_value"], row["clustered_q_value"]) == (None, None, None)
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
        correlation_statistics(frame.drop("target_value"), minimum_models=8)


def test_no_pairs_give_no_rows() -> None:
    empty = cell([], [])
    assert set(PAIR_COLUMNS) == set(empty.columns)
    assert correlation_statistics(empty, minimum_models=8).height == 0

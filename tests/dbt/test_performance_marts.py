"""The marts of the performance model agree with themselves and with the published results."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from scipy import stats


def membership(values: np.ndarray, k: int) -> np.ndarray:
    first, last = stats.rankdata(-values, method="min"), stats.rankdata(-values, method="max")
    return np.clip((k - first + 1) / (last - first + 1), 0, 1)


@pytest.fixture(scope="module")
def cells(published: duckdb.DuckDBPyConnection) -> dict[tuple[str, ...], np.ndarray]:
    """Predicted and observed, by objective, target, protocol and predictor."""
    rows = published.execute(
        """
        select objective, target, protocol, predictor,
            list(predicted order by model_id), list(observed order by model_id)
        from fct_performance_predictions group by all
        """
    ).fetchall()
    return {tuple(row[:4]): np.array(row[4:]) for row in rows}


def test_every_protocol_and_baseline_is_there_for_both_objectives(cells: dict) -> None:
    for objective in ("regression", "bradley_terry"):
        for protocol in ("paper_in_sample", "paper_10_fold", "leave_publisher_out"):
            for predictor in ("elastic_net", "mean", "log10_params", "params_and_tokens", "best_single_benchmark"):
                assert cells[objective, "score", protocol, predictor].shape == (2, 40)
        for predictor in ("average", "average_without_shrinkage", "selected"):
            assert (objective, "score", "leave_publisher_out", predictor) in cells


def test_scores_recompute_from_the_predictions(published: duckdb.DuckDBPyConnection, cells: dict) -> None:
    rows = published.execute(
        """
        select objective, target, protocol, predictor, mae, mae_low, mae_high,
            coverage_at_5, coverage_at_10, regret_at_1, n
        from fct_performance_scores
        """
    ).fetchall()
    assert {tuple(row[:4]) for row in rows} == set(cells)
    for *key, mae, low, high, at_5, at_10, regret, n in rows:
        predicted, observed = cells[tuple(key)]
        assert mae == pytest.approx(np.abs(predicted - observed).mean(), abs=1e-9)
        assert low <= mae <= high
        assert n == 40
        for k, found in ((5, at_5), (10, at_10)):
            assert found == pytest.approx(membership(predicted, k) @ membership(observed, k) / k, abs=1e-9), key
        first = membership(predicted, 1)
        assert regret == pytest.approx(observed.max() - first @ observed, abs=1e-9), key


def test_comparisons_recompute_from_the_predictions(published: duckdb.DuckDBPyConnection, cells: dict) -> None:
    rows = published.execute(
        """
        select objective, target, protocol, predictor, reference, n, mae, reference_mae, difference,
            difference_low, difference_high, verdict
        from fct_performance_comparisons
        """
    ).fetchall()
    held_out = [key for key in cells if key[2] == "leave_publisher_out"]
    pairs = {(*key, reference) for key in held_out for reference in ("log10_params", "mean", "elastic_net")}
    assert {tuple(row[:5]) for row in rows} == {pair for pair in pairs if pair[3] != pair[4]}
    for objective, target, protocol, predictor, reference, n, mae, base_mae, difference, low, high, verdict in rows:
        predicted, observed = cells[objective, target, protocol, predictor]
        base, _ = cells[objective, target, protocol, reference]
        errors, base_errors = np.abs(predicted - observed), np.abs(base - observed)
        assert (mae, base_mae) == pytest.approx((errors.mean(), base_errors.mean()), abs=1e-9)
        assert difference == pytest.approx((errors - base_errors).mean(), abs=1e-9)
        assert n == 40 and low <= difference <= high
        assert verdict == ("better" if high < 0 else "worse" if low > 0 else "undecided")


def test_predicted_coverage_recomputes(published: duckdb.DuckDBPyConnection, cells: dict) -> None:
    rows = published.execute(
        "select objective, target, protocol, predictor, k, coverage, chance, n from fct_predicted_coverage"
    ).fetchall()
    assert len(rows) == 6 * len(cells)
    for *key, k, coverage, chance, n in rows:
        predicted, observed = cells[tuple(key)]
        assert coverage == pytest.approx(membership(predicted, k) @ membership(observed, k) / k, abs=1e-9)
        assert n == 40
        if key[2] == "leave_publisher_out":
            assert 0 < chance < k / 40, "folds trained apart are not one ranking"
        else:
            assert chance == pytest.approx(k / 40)


def test_the_average_beats_size_for_regression_and_nothing_beats_the_mean_for_bradley_terry(
    published: duckdb.DuckDBPyConnection,
) -> None:
    rows = published.execute(
        """
        select predictor, mae, reference_mae, difference_high, publisher_difference_high
        from fct_performance_comparisons
        where objective = 'regression' and reference = 'log10_params' and predictor like 'average%'
        """
    ).fetchall()
    assert {name for name, *_ in rows} == {"average", "average_without_shrinkage"}
    for _, mae, size, high, publisher_high in rows:
        assert mae < 3.3 and size == pytest.approx(4.4, abs=0.05) and high < 0 and publisher_high < 0
    better = published.execute(
        """
        select predictor from fct_performance_comparisons
        where objective = 'bradley_terry' and reference = 'mean' and verdict = 'better'
        """
    ).fetchall()
    assert better == []


def test_intervals_of_what_forecasts_use_hold_nine_of_ten(published: duckdb.DuckDBPyConnection) -> None:
    held = published.execute(
        """
        select objective, count(*) from fct_performance_predictions
        where predictor = 'average' and protocol = 'leave_publisher_out'
            and observed >= coalesce(interval_low, 0) and observed <= coalesce(interval_high, 100)
        group by objective
        """
    ).fetchall()
    assert len(held) == 2 and all(33 <= count <= 39 for _, count in held), held


def test_folds_are_publishers_and_in_sample_has_none(published: duckdb.DuckDBPyConnection) -> None:
    mixed = published.execute(
        """
        select models.publisher from fct_performance_predictions as predictions
        inner join dim_base_models as models using (study_id, model_id)
        where protocol = 'leave_publisher_out' group by models.publisher having count(distinct fold) != 1
        """
    ).fetchall()
    assert mixed == []
    none = published.execute(
        "select count(*) from fct_performance_predictions where protocol = 'paper_in_sample' and fold is not null"
    ).fetchone()
    assert none == (0,)


def test_in_sample_errors_flatter(published: duckdb.DuckDBPyConnection) -> None:
    """The reason why out-of-fold figures stand beside them."""
    rows = dict(
        published.execute(
            """
            select protocol, mae from fct_performance_scores
            where objective = 'regression' and target = 'score' and predictor = 'elastic_net'
            """
        ).fetchall()
    )
    assert rows["paper_in_sample"] < rows["paper_10_fold"] < rows["leave_publisher_out"]


def test_recommendations_rank_what_was_measured(published: duckdb.DuckDBPyConnection) -> None:
    best = published.execute(
        """
        select objective, size_limit_b, model_id, gain_points_over_default from fct_recommendations
        where rank = 1 and size_limit_b is null or rank = 1 and size_limit_b = 3 order by all
        """
    ).fetchall()
    assert [row[2] for row in best] == [
        "Qwen2.5-3B-Instruct", "Qwen2.5-7B-Instruct", "Qwen2.5-3B-Instruct", "gemma-2-9b-it",
    ]  # fmt: skip
    assert best[0][3] == pytest.approx(13.6)
    totals = published.execute(
        "select objective, size_limit_b, sum(probability_best) from fct_recommendations group by all"
    ).fetchall()
    assert len(totals) == 12
    assert all(total == pytest.approx(1) for *_, total in totals)
    beyond = published.execute(
        "select distinct model_id from fct_recommendations where params_b > size_limit_b and size_limit_b = 8"
    ).fetchall()
    assert {model for (model,) in beyond} == {
        "Llama-3.1-8B-Instruct", "Meta-Llama-3-8B-Instruct", "Llama-3.1-Tulu-3-8B", "Llama-3.1-Tulu-3-8B-SFT",
        "Llama-3.1-Tulu-3-8B-DPO", "Mistral-NeMo-Minitron-8B-Instruct", "gemma-7b-it", "gemma-1.1-7b-it",
    }  # fmt: skip


def test_components_are_orthonormal_and_ordered(published: duckdb.DuckDBPyConnection) -> None:
    rows = published.execute(
        """
        select component, any_value(explained_variance_ratio), list(loading order by benchmark)
        from fct_capability_components group by component order by component
        """
    ).fetchall()
    ratios = [ratio for _, ratio, _ in rows]
    assert ratios == sorted(ratios, reverse=True)
    assert sum(ratios) == pytest.approx(1)
    loadings = np.array([values for *_, values in rows])
    assert loadings @ loadings.T == pytest.approx(np.eye(len(loadings)), abs=1e-9)
    assert all(row[np.abs(row).argmax()] > 0 for row in loadings)

"""Correlations over reward models: exact tests against plain enumeration, and what is not tested."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models_train.selection.teacher_predictors import (
    critical_spearman,
    fisher_interval,
    permutation_p,
    predictor_statistics,
    printed_statistics,
    shared_permutation_p,
)

CELL = {"study_id": "s", "gold": "g", "method": "RLOO", "selection": "all", "target": "gold_gain", "predictor": "p"}


def pairs(x: np.ndarray, y: np.ndarray, **cell: str) -> pl.DataFrame:
    """x, y: (policies, reward models)."""
    return pl.DataFrame(
        [
            CELL | cell | {"policy": f"policy {row}", "reward_model": f"rm {column}", "paper_table": "Table 1"}
            | {"predictor_value": float(x[row, column]), "target_value": float(y[row, column])}
            for row in range(x.shape[0])
            for column in range(x.shape[1])
        ]
    )  # fmt: skip


def test_fisher_and_critical_values() -> None:
    low, high = fisher_interval(0.834, 6)
    assert (round(low, 2), round(high, 2)) == (0.07, 0.98)
    found = stats.pearsonr([1, 2, 3, 4, 5], [2, 1, 4, 3, 6]).confidence_interval()
    assert fisher_interval(stats.pearsonr([1, 2, 3, 4, 5], [2, 1, 4, 3, 6]).statistic, 5) == pytest.approx(tuple(found))
    assert all(math.isnan(end) for end in (*fisher_interval(0.5, 3), *fisher_interval(1.0, 9)))
    # Published tables of the exact two-sided test at 0.05.
    assert [round(critical_spearman(n), 3) for n in (5, 6, 7, 8)] == [1.0, 0.886, 0.786, 0.738]
    assert math.isnan(critical_spearman(4)), "even |rho| = 1 of four has p = 2/24"


def test_exact_p_equals_enumeration_with_ties() -> None:
    x, y = np.array([1.0, 2, 2, 4, 5, 6]), np.array([2.0, 1, 4, 3, 3, 6])
    observed = abs(stats.spearmanr(x, y).statistic)
    hits = [abs(stats.spearmanr(list(order), y).statistic) >= observed - 1e-9 for order in permutations(x)]
    assert permutation_p(x, y) == pytest.approx(np.mean(hits))
    assert permutation_p(x, x) == pytest.approx(permutation_p(x, -x))


def test_p_of_more_than_eight_cases_is_drawn_and_the_same_each_time() -> None:
    x = np.arange(12.0)
    assert permutation_p(x, x) == permutation_p(x, x) == 1 / 10_001
    noise = np.random.default_rng(3).normal(size=12)
    assert permutation_p(x, noise) == pytest.approx(stats.spearmanr(x, noise).pvalue, abs=0.02)


def test_shared_permutations_keep_a_reward_model_together() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    rhos = [
        np.mean([stats.spearmanr(one[list(order)], other).statistic for one, other in zip(x, y, strict=True)])
        for order in permutations(range(4))
    ]
    p, smallest = shared_permutation_p(x, y)
    assert p == pytest.approx(np.mean(np.abs(rhos) >= abs(rhos[0]) - 1e-9)) and 1 / 24 <= smallest <= p
    same = np.tile(np.arange(4.0), (3, 1))
    assert shared_permutation_p(same, same) == (2 / 24, 2 / 24), "its reverse is as far off"


def test_a_sample_too_small_is_listed_without_a_test() -> None:
    rng = np.random.default_rng(2)
    frame = predictor_statistics(pairs(rng.normal(size=(1, 5)), rng.normal(size=(1, 5))))
    row = frame.row(0, named=True)
    assert frame.height == 1 and row["pearson"] is not None and row["low"] is not None
    assert [row[name] for name in ("critical_pearson", "critical_spearman", "p_exact", "q")] == [None] * 4
    assert row["note"] == "no test: 5 reward models are too few"
    two = predictor_statistics(pairs(np.array([[1.0, 2]]), np.array([[1.0, 2]]))).row(0, named=True)
    assert two["pearson"] is None and two["note"] == "no correlation: 2 cases are too few"


def test_what_does_not_vary_and_what_is_not_balanced_is_said() -> None:
    x, y = np.array([[1.0, 2, 3, 4]] * 2), np.random.default_rng(0).normal(size=(2, 4))
    found = {row["policy"]: row for row in predictor_statistics(pairs(x, y)).to_dicts()}
    assert found["between"]["note"].startswith("no correlation") and found["between"]["pearson"] is None
    constant = predictor_statistics(pairs(np.ones((1, 6)), y.reshape(1, 8)[:, :6])).row(0, named=True)
    assert constant["note"] == "no correlation: the predictor is the same everywhere"
    holes = predictor_statistics(pairs(x, y).slice(1))
    within = holes.filter(policy="within").row(0, named=True)
    assert within["note"] == "not computed: not every reward model taught every policy" and within["p_shared"] is None


def test_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    frame = pairs(rng.normal(size=(6, 4)), rng.normal(size=(6, 4)))
    assert predictor_statistics(frame).equals(predictor_statistics(frame.sample(fraction=1, shuffle=True, seed=1)))
    assert predictor_statistics(frame.clear()).is_empty()


def test_bad_rows_are_refused() -> None:
    frame = pairs(np.ones((1, 4)), np.arange(4.0).reshape(1, 4))
    with pytest.raises(ValueError, match="twice for a policy"):
        predictor_statistics(pl.concat([frame, frame.head(1)]))
    with pytest.raises(ValueError, match="not a finite number"):
        predictor_statistics(frame.with_columns(target_value=pl.lit(float("inf"))))


def test_printed_coefficients_have_no_permutation_test() -> None:
    printed = pl.DataFrame(
        [{"study_id": "s", "paper_table": "Table 2", "predictor": "p", "target": "gold_gain", "n": 6}]
    ).with_columns(pearson=0.834, spearman=0.714)
    row = printed_statistics(printed).row(0, named=True)
    assert (row["basis"], row["p_exact"], row["kendall"]) == ("printed", None, None)
    assert row["spearman"] < row["critical_spearman"] and row["pearson"] > row["critical_pearson"]

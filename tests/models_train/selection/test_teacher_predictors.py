"""Correlations over reward models: exact tests against plain enumeration, and what is not tested."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models_train.selection.predictor_bootstrap import resample
from models_train.selection.teacher_predictors import (
    critical_spearman,
    fisher_interval,
    permutation_p,
    predictor_comparisons,
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


def own_pairs(x: np.ndarray, y: np.ndarray, bases: list[str | None], **cell: str) -> pl.DataFrame:
    """Pairs measured here. bases: of each reward model."""
    known = pl.DataFrame({"reward_model": [f"rm {place}" for place in range(len(bases))], "base_model": bases})
    return pairs(x, y, **cell).join(known.cast({"base_model": pl.String}), on="reward_model", maintain_order="left")


def test_own_rows_have_intervals_over_base_models() -> None:
    """Against plain resampling: base models drawn with replacement, reward models of one base together."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(1, 10)), rng.normal(size=(1, 10)).round(1)
    y[0, 3] = y[0, 4]
    bases = ["a", "a", "b", "c", "c", "c", "d", "e", "f", None]
    row = predictor_statistics(own_pairs(x, y, bases), resamples=4000).row(0, named=True)
    assert (row["basis"], row["paper_tables"], row["n"]) == ("own", "none", 10)
    assert row["p_exact"] == permutation_p(x[0], y[0]) and row["spearman"] == stats.spearmanr(x[0], y[0]).statistic
    draws = resample(np.array([*"aabcccdef", "rm 9"]), 4000, "s/g/RLOO/all/gold_gain/p/policy 0")
    assert not isinstance(draws, str) and draws.counts.shape == (4000, 10)
    assert (draws.counts[:, 3] == draws.counts[:, 5]).all() and draws.counts.mean() == pytest.approx(1, abs=0.05)
    rhos, rs = [], []
    for counts in draws.counts.astype(int):
        places = np.repeat(np.arange(10), counts)
        if np.ptp(x[0, places]) and np.ptp(y[0, places]):
            one, other = x[0, places], y[0, places]
            rs.append(np.corrcoef(one, other)[0, 1])
            rhos.append(np.corrcoef(stats.rankdata(one), stats.rankdata(other))[0, 1])
    assert (row["spearman_low"], row["spearman_high"]) == pytest.approx(tuple(np.quantile(rhos, [0.025, 0.975])))
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(rs, [0.025, 0.975])))


def test_own_rows_without_enough_base_models_or_reward_models_say_so() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(1, 8)), rng.normal(size=(1, 8))
    three = predictor_statistics(own_pairs(x, y, list("aaabbbcc")), resamples=50).row(0, named=True)
    assert three["spearman_low"] is None and three["low"] is None and three["p_exact"] is not None
    assert three["note"] == "no interval: fewer than 4 base models"
    few = predictor_statistics(own_pairs(x[:, :5], y[:, :5], list("abcde")), resamples=50).row(0, named=True)
    assert few["p_exact"] is None and few["note"] == "no test: 5 reward models are too few"
    assert few["spearman_low"] is not None


def test_own_rows_within_policies_take_the_reward_models_of_all() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(3, 10)), rng.normal(size=(3, 10))
    frame = own_pairs(x, y, list("abcdefghij"))
    hole = frame.filter((pl.col("policy") != "policy 1") | (pl.col("reward_model") != "rm 4"))
    found = predictor_statistics(hole, resamples=200)
    within = found.filter(policy="within").row(0, named=True)
    kept = [place for place in range(10) if place != 4]
    each = [stats.spearmanr(one[kept], other[kept]).statistic for one, other in zip(x, y, strict=True)]
    assert within["n"] == 9 and within["spearman"] == pytest.approx(np.mean(each))
    assert within["spearman_low"] < within["spearman"] < within["spearman_high"] and within["p_shared"] > 1 / 10_001
    assert within["note"].endswith("of 10 reward models the 9 that were measured with every policy")
    assert found.filter(policy="policy 0")["n"].item() == 10
    tested = found.filter(pl.col("q").is_not_null())
    p = tested.select(pl.coalesce("p_shared", "p_exact")).to_series().to_numpy()
    ranks = stats.rankdata(p, method="max")
    by_hand = [min(1.0, min(len(p) * p[k] / ranks[k] for k in np.flatnonzero(p >= p[i]))) for i in range(len(p))]
    np.testing.assert_allclose(tested["q"], by_hand)


def test_p_shared_of_more_than_eight_is_drawn() -> None:
    same = np.tile(np.arange(10.0), (3, 1))
    assert shared_permutation_p(same, same) == (1 / 10_001, 1 / 10_001)
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(1, 9)), rng.normal(size=(1, 9))
    assert shared_permutation_p(x, y)[0] == pytest.approx(permutation_p(x[0], y[0]), abs=1e-9)


def test_a_predictor_against_another_is_paired_and_partial() -> None:
    """The partial rank correlation is that of the residuals of ranks; the difference is resampled in pairs."""
    rng = np.random.default_rng(11)
    accuracy = rng.normal(size=(2, 12))
    variance, gain = rng.normal(size=(2, 12)), accuracy + 0.5 * rng.normal(size=(2, 12))
    bases = list("abcdefghijkl")
    frames = [
        own_pairs(values, gain, bases, predictor=name)
        for name, values in (("on_policy_accuracy", accuracy), ("reward_variance", variance))
    ]
    found = predictor_comparisons(pl.concat(frames), 500)
    row = found.row(0, named=True)
    assert found.height == 1 and (row["predictor"], row["policy"], row["n"]) == ("reward_variance", "within", 12)

    def residual(one: np.ndarray, given: np.ndarray) -> np.ndarray:
        one, given = stats.rankdata(one), stats.rankdata(given)
        line = np.polyfit(given, one, 1)
        return one - np.polyval(line, given)

    partials = [
        np.corrcoef(residual(v, a), residual(g, a))[0, 1] for v, a, g in zip(variance, accuracy, gain, strict=True)
    ]
    assert row["partial_spearman"] == pytest.approx(np.mean(partials))
    assert row["difference"] == pytest.approx(row["spearman"] - row["reference_spearman"])
    assert row["low"] < row["difference"] < row["high"] < 0, "accuracy is what ranks the gain here"
    assert row["partial_low"] < 0 < row["partial_high"], "and variance adds nothing"
    few = predictor_comparisons(pl.concat(frames).filter(pl.col("reward_model").is_in(["rm 0", "rm 1"])), 50)
    assert few["note"].to_list() == ["no comparison: 2 reward models have both"]
    mirrored = own_pairs(2 * accuracy, gain, bases, predictor="other")
    same = predictor_comparisons(pl.concat([frames[0], mirrored]), 50).row(0, named=True)
    assert (same["difference"], same["low"], same["high"], same["partial_spearman"]) == (0, 0, 0, None)

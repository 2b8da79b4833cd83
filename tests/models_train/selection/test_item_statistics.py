"""Statistics over items against NumPy and SciPy, written plainly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models_train.selection.item_statistics import (
    Strata,
    compare,
    error_correlations,
    herding,
    holm,
    interval,
    mcnemar_p,
    ranks_from_best,
    resample_counts,
    variance_shares,
)

A, B = np.array([0]), np.array([1])


def one_stratum(weight: float = float("nan")) -> Strata:
    return Strata(np.array(["s"], object), np.array(["all"], object), np.array([weight]))


def test_items_are_drawn_within_their_subset() -> None:
    strata = np.array(["a", "b", "a", "b", "b"])
    counts = resample_counts(strata, 200, 1)
    assert counts.shape == (201, 5) and counts[0].tolist() == [1] * 5
    assert (counts[:, strata == "a"].sum(axis=1) == 2).all() and (counts[:, strata == "b"].sum(axis=1) == 3).all()
    assert np.array_equal(counts, resample_counts(strata, 200, 1))
    assert not np.array_equal(counts, resample_counts(strata, 200, 2))


def test_mcnemar_and_holm() -> None:
    only = np.array([0, 3, 15, 7]), np.array([0, 9, 0, 7])
    expected = [stats.binomtest(a, a + b).pvalue if a + b else 1.0 for a, b in zip(*only, strict=True)]
    assert mcnemar_p(*only) == pytest.approx(expected)
    found = holm(np.array([0.01, np.nan, 0.04, 0.03]))
    assert found[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06]) and np.isnan(found[1])


def test_two_rewards_are_compared_on_the_items_of_both() -> None:
    rng = np.random.default_rng(2)
    values = (rng.random((80, 2)) < (0.7, 0.5)).astype(float)
    values[:5, 0], values[70:, 1] = np.nan, np.nan
    both = values[5:70]
    whole, subset = compare(values, np.full(80, "s", object), one_stratum(), A, B, 4000, 3)
    assert (whole.n[0], subset.n[0], whole.method) == (65, 65, "McNemar, exact")
    assert whole.difference[0] == pytest.approx((both[:, 0] - both[:, 1]).mean(), abs=1e-12)
    reach = 1.96 * (both[:, 0] - both[:, 1]).std(ddof=1) / np.sqrt(65)
    assert whole.high[0] - whole.low[0] == pytest.approx(2 * reach, rel=0.08)
    assert whole.only_a is not None and whole.only_a[0] == ((both[:, 0] == 1) & (both[:, 1] == 0)).sum()


def test_weighted_subsets_make_the_figure_and_its_bootstrap() -> None:
    rng = np.random.default_rng(4)
    subsets = np.repeat(np.array(["a", "b", "c"], object), (30, 60, 40))
    values = (rng.random((130, 2)) < 0.6).astype(float)
    strata = Strata(np.array(["a", "b", "c"], object), np.array(["x", "x", "y"], object), np.array([3.0, 1.0, 5.0]))
    whole, *_ = compare(values, subsets, strata, A, B, 4000, 5)
    means = {name: values[subsets == name].mean(axis=0) for name in "abc"}
    figure = ((3 * means["a"] + means["b"]) / 4 + means["c"]) / 2
    assert (whole.value_a[0], whole.value_b[0]) == pytest.approx(tuple(figure), abs=1e-12)
    shares = {"a": 3 / 8, "b": 1 / 8, "c": 1 / 2}
    differences = {name: values[subsets == name] @ [1, -1] for name in "abc"}
    error = np.sqrt(sum(shares[name] ** 2 * one.var(ddof=1) / one.size for name, one in differences.items()))
    assert whole.high[0] - whole.low[0] == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert whole.method == "paired bootstrap" and whole.only_a is None
    assert whole.p_value[0] == pytest.approx(2 * stats.norm.sf(abs(whole.difference[0]) / error), abs=0.03)


def test_few_items_have_neither_interval_nor_test() -> None:
    values = np.array([[1.0, 0.0]] * 7)
    whole, _ = compare(values, np.full(7, "s", object), one_stratum(), A, B, 50, 1)
    assert whole.difference[0] == 1.0
    assert np.isnan([whole.low[0], whole.high[0], whole.p_value[0]]).all()


def test_nothing_is_told_apart_where_both_are_equal_on_every_item() -> None:
    values = np.repeat(np.random.default_rng(1).random((20, 1)), 2, axis=1)
    whole, _ = compare(values, np.full(20, "s", object), one_stratum(), A, B, 50, 1)
    assert (whole.p_value[0], whole.low[0], whole.high[0]) == (1.0, 0.0, 0.0)


def test_phi_is_the_correlation_of_the_errors_over_the_items_of_both() -> None:
    rng = np.random.default_rng(6)
    wrong = rng.random((3, 50, 4)) < 0.4
    n_pairs = np.full((50, 3), 4.0)
    n_pairs[:6, 2] = 0
    wrong[2, :6] = False
    a, b = np.triu_indices(3, 1)
    counts = resample_counts(np.full(50, "s"), 300, 7)
    found = error_correlations(wrong, n_pairs, a, b, counts)
    for place, (i, j) in enumerate(zip(a, b, strict=True)):
        rows = slice(6, None) if j == 2 else slice(None)
        one, other = wrong[i, rows].ravel(), wrong[j, rows].ravel()
        assert found.phi[place, 0] == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-12)
        assert found.both[place] == pytest.approx((one & other).mean()) and found.n[place] == one.size
        drawn = np.repeat(np.arange(50), counts[9].astype(int))
        drawn = drawn[drawn >= 6] if j == 2 else drawn
        again = np.corrcoef(wrong[i, drawn].ravel(), wrong[j, drawn].ravel())[0, 1]
        assert found.phi[place, 9] == pytest.approx(again, abs=1e-12)


def test_herding_has_an_interval_from_four_rewards_on() -> None:
    a, b = np.triu_indices(5, 1)
    phi = np.random.default_rng(8).normal(0.3, 0.05, (10, 1001))
    whole = herding(phi, a, b, np.full(10, True), 100, 1)
    assert (whole.n_rewards, whole.n_pairs, whole.reason) == (5, 10, None)
    assert whole.mean_phi == pytest.approx(phi[:, 0].mean()) and whole.low < whole.mean_phi < whole.high
    three = herding(phi, a, b, (a < 3) & (b < 3), 100, 1)
    assert three.n_rewards == 3 and np.isnan(three.low) and three.reason == "fewer than 4 rewards"
    few = herding(phi, a, b, np.full(10, True), 7, 1)
    assert np.isnan(few.low) and few.reason == "fewer than 8 items"


def test_ranks_count_from_the_highest() -> None:
    values = np.random.default_rng(9).integers(4, size=(20, 6)).astype(float)
    assert np.array_equal(ranks_from_best(values), stats.rankdata(-values, axis=1))
    with_gap = ranks_from_best(np.array([[3.0, np.nan, 1.0]]))
    assert with_gap[0, 0] == 1 and np.isnan(with_gap[0, 1]) and with_gap[0, 2] == 2


def test_variance_shares_are_those_of_whitened_rewards() -> None:
    """The first reward is F1 of the specification: w-variance .7746478873; the second lacks an item."""
    first = np.array([[1.0, 2, 4, 1], [0, 0, 0, 0], [3, -1, 2, 2]])
    rewards = np.stack([first, first + 1e6], axis=-1)
    scored = np.array([[True, True], [True, True], [True, False]])
    counts = resample_counts(np.full(3, "s"), 20, 1)
    found = variance_shares(rewards, scored, counts)
    assert found["reward_variance"][0, 0] == pytest.approx(0.7746478873, abs=5e-11)
    two = (first[:2] - first[:2].mean()) / first[:2].std(ddof=1)
    assert found["reward_variance"][1, 0] == pytest.approx(two.var(axis=1, ddof=1).mean(), abs=1e-6)
    assert found["within_variance_raw"][0, 0] == pytest.approx(first.var(axis=1, ddof=1).mean())
    assert found["between_variance_raw"][0, 0] == pytest.approx(first.mean(axis=1).var(ddof=1))
    drawn = np.repeat(first, counts[5].astype(int), axis=0)
    white = (drawn - drawn.mean()) / drawn.std(ddof=1)
    assert found["reward_variance"][0, 5] == pytest.approx(white.var(axis=1, ddof=1).mean())
    constant = variance_shares(np.full((3, 4, 1), 0.1), scored[:, :1], counts)
    assert np.isnan(constant["reward_variance"]).all()


def test_an_interval_leaves_out_the_sample_and_what_is_not_known() -> None:
    drawn = np.concatenate([[99.0], np.linspace(0, 1, 1001)])
    assert interval(drawn) == (pytest.approx(0.025), pytest.approx(0.975))
    low, high = interval(np.stack([drawn, np.full(1002, np.nan)]))
    assert low[0] == pytest.approx(0.025) and np.isnan([low[1], high[1]]).all()

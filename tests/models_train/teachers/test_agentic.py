"""Rewards with checks: fixture F7, the identities, and weights against every choice written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, zscore

from models_train.selection.item_metrics import Items
from models_train.teachers.agentic import added, chooses, fit, scores, that_choose

F7 = np.array([[10.0, 12.0, 11.0]])
CHECKS = np.array([[[1.0, 0.0, 1.0]]])


@pytest.mark.parametrize(
    ("weight", "expected"), [(1.0, [0.0, 1.0, 1.0]), (0.0, [-1.0, 1.0, 0.0]), (2.0, [1.0, 1.0, 2.0])]
)
@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_the_fixture_of_the_specification(weight: float, expected: list[float], factor: float) -> None:
    assert scores(factor * F7, CHECKS, [weight])[0].tolist() == expected


def arrays(seed: int, n: int = 40, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rewards = rng.normal(3, 20, (n, 4))
    return (rewards.round(0) if ties else rewards), rng.integers(0, 3, (2, n, 4)) / 2


@pytest.mark.parametrize("seed", range(5))
def test_weights_of_0_keep_every_order_and_every_tie(seed: int) -> None:
    rewards, checks = arrays(seed, ties=True)
    found = scores(rewards, checks, [0.0, 0.0])
    np.testing.assert_array_equal(rankdata(found), rankdata(rewards))
    np.testing.assert_allclose(found.ravel(), zscore(rewards.ravel(), ddof=1), rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1000.0, 0.001, 7.0]), st.floats(0, 3))
def test_the_scale_of_a_reward_changes_nothing(seed: int, factor: float, weight: float) -> None:
    rewards, checks = arrays(seed, 12)
    one, other = scores(rewards, checks, [weight, 1.0]), scores(factor * rewards, checks, [weight, 1.0])
    np.testing.assert_allclose(other, one, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(rankdata(other.round(11)), rankdata(one.round(11)))


def test_a_check_counts_where_all_of_a_row_have_it() -> None:
    rewards = np.array([[1.0, 2.0, np.nan], [3.0, 5.0, 4.0]])
    checks = np.array([[[1.0, 0.5, np.nan], [1.0, np.nan, 1.0]]])
    np.testing.assert_array_equal(added(rewards, checks), [[[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]])
    found = scores(rewards, checks, [1.0])
    assert np.isnan(found[0, 2]) and np.isfinite(found).sum() == 5


def test_rewards_that_do_not_vary_give_none() -> None:
    assert np.isnan(scores(np.full((2, 2), 0.1), np.ones((1, 2, 2)), [1.0])).all()


def pairs(n: int) -> Items:
    there = np.ones((n, 2), bool)
    names = np.array([str(place) for place in range(n)], object)
    return Items("mine", np.full(n, "all", object), names, there, np.array([[True, False]] * n))


def test_items_choose_by_their_names() -> None:
    shares = [chooses("all", str(name), 0.3) for name in range(2000)]
    assert abs(np.mean(shares) - 0.3) < 0.04
    assert chooses("Ties", "ref:7", 0.5) == chooses("Ties", "tied:7", 0.5)
    assert all(chooses("all", str(name), 0.6) for name in range(200) if chooses("all", str(name), 0.2))


def test_the_weight_of_the_highest_accuracy_is_chosen() -> None:
    """Against every weight of the grid, computed pair by pair."""
    rng = np.random.default_rng(1)
    items, rewards = pairs(300), rng.normal(0, 1, (300, 2))
    checks = np.stack([rng.random((300, 2)) < [0.8, 0.3], rng.random((300, 2)) < [0.3, 0.8]]).astype(float)
    grid = (0.0, 0.5, 2.0)
    found = fit(items, rewards, checks, grid, 0.5, seed=3)
    assert found is not None
    rows = that_choose(items, 0.5)
    z = (rewards - rewards.mean()) / rewards.std(ddof=1)
    by_hand = {}
    for first in grid:
        for second in grid:
            total = z + first * checks[0] + second * checks[1]
            by_hand[first, second] = np.mean([one > other for one, other in total[rows]])
    assert dict(zip(found.points, found.accuracies.tolist(), strict=True)) == pytest.approx(by_hand)
    assert found.accuracies[found.chosen] == max(by_hand.values()) and found.weights[1] == 0.0 < found.weights[0]
    assert found.accuracy_plain == by_hand[0.0, 0.0] and found.n_items == rows.sum()
    assert found.optimism_points is not None and found.accuracy_choosing_half is not None
    assert found.accuracy_choosing_half >= found.accuracy_plain


def test_a_check_that_says_nothing_gets_weight_0_and_its_choice_flatters() -> None:
    rng = np.random.default_rng(5)
    items, rewards = pairs(400), rng.normal(0, 1, (400, 2))
    constant = fit(items, rewards, np.ones((1, 400, 2)), (0.0, 1.0), 0.5, seed=0)
    assert constant is not None and constant.weights == (0.0,) and constant.optimism_points == pytest.approx(0, abs=1)
    noise = [
        fit(items, rng.normal(0, 1, (400, 2)), rng.integers(0, 2, (1, 400, 2)) * 1.0, (0.0, 0.5, 1.0, 2.0), 0.5, seed)
        for seed in range(20)
    ]
    assert np.mean([one.optimism_points for one in noise if one is not None]) > 0


def test_nothing_is_chosen_without_items() -> None:
    assert fit(pairs(10), np.full((10, 2), np.nan), np.ones((1, 10, 2)), (0.0, 1.0), 0.5, 0) is None
    assert fit(pairs(10), np.full((10, 2), 1.0), np.ones((1, 10, 2)), (0.0, 1.0), 0.5, 0) is None

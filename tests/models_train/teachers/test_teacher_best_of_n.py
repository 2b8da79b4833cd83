"""Best of n against brute force over all subsets; fits of over-optimisation: F2, F3, F5 of the specification."""

from __future__ import annotations

from itertools import combinations
from math import log

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from models_train.teachers.best_of_n import (
    curves,
    fit,
    kl_bound,
    n_at_kl,
    over_optimisation,
    peaks,
    rmse,
    selection_weights,
    sizes_up_to,
    statuses,
)
from models_train.teachers.ensembles import uwo

R = np.array([[1.0, 2, 4, 1], [0, 0, 0, 0], [3, -1, 2, 2]])
GOLD = np.array([[0.0, 1, 2, 0], [1, 0, 1, 2], [3, 0, 1, 2]])


def test_curves_and_distances_are_those_of_the_worked_case() -> None:
    """F2."""
    found = curves(R[None], GOLD, [1, 2, 3, 4])
    assert found.proxy[0].mean(axis=0) == pytest.approx([1.1666667, 1.7777778, 2.0833333, 2.3333333], abs=5e-8)
    assert found.gold[0].mean(axis=0) == pytest.approx([1.0833333, 1.5277778, 1.7916667, 2.0], abs=5e-8)
    assert kl_bound([1, 2, 3, 4]) == pytest.approx([0, 0.193147, 0.431946, 0.636294], abs=5e-7)


def brute_force(rewards: NDArray[np.float64], gold: NDArray[np.float64], n: int) -> tuple[float, float]:
    """Mean reward and gold of the best of every subset of n; of several best ones each is as likely."""
    proxies, golds = [], []
    for subset in combinations(range(len(rewards)), n):
        own = rewards[list(subset)]
        best = [place for place in subset if rewards[place] == own.max()]
        proxies.append(own.max())
        golds.append(np.mean(gold[best]))
    return float(np.mean(proxies)), float(np.mean(golds))


def test_best_of_n_equals_brute_force_on_200_random_pools_with_ties() -> None:
    rng = np.random.default_rng(0)
    n_tied = 0
    for _ in range(200):
        n_pool = int(rng.integers(2, 9))
        rewards = rng.integers(-2, 3, n_pool) * rng.choice([1.0, 0.1, 1e6])
        gold = rng.normal(size=n_pool)
        n_tied += len(set(rewards)) < n_pool
        found = curves(rewards[None, None], gold[None], range(1, n_pool + 1))
        for place, n in enumerate(found.sizes):
            proxy, true = brute_force(rewards, gold, n)
            assert found.proxy[0, 0, place] == pytest.approx(proxy, rel=1e-12, abs=1e-12)
            assert found.gold[0, 0, place] == pytest.approx(true, rel=1e-12, abs=1e-12)
    assert n_tied > 100


def test_a_prompt_of_few_responses_has_no_value_at_large_n() -> None:
    rewards, gold = np.array([[1.0, 2, np.nan, 4], [1, 2, 3, 4]]), np.array([[5.0, 6, np.nan, 7], [1, 2, 3, 4]])
    found = curves(rewards[None], gold, [2, 4])
    assert found.sizes == [1, 2, 4]
    assert found.gold[0, 0].tolist()[:2] == pytest.approx([6, (6 + 7 + 7) / 3]) and np.isnan(found.gold[0, 0, 2])
    assert found.gold[0, 1, 2] == 4


def test_order_of_prompts_and_responses_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    rewards, gold = np.round(rng.normal(size=(5, 40, 16)), 1), rng.normal(size=(40, 16))
    prompts, columns = rng.permutation(40), rng.permutation(16)
    sizes = sizes_up_to(16)
    one = curves(rewards, gold, sizes)
    other = curves(rewards[:, prompts][:, :, columns], gold[prompts][:, columns], sizes)
    assert np.abs(one.gold[:, prompts] - other.gold).max() < 1e-12
    assert np.abs(one.proxy[:, prompts] - other.proxy).max() < 1e-12


def test_gold_times_a_thousandth_on_half_of_the_prompts_chooses_as_gold_does() -> None:
    rng = np.random.default_rng(2)
    gold = rng.integers(-2, 5, size=(20, 16)).astype(float)
    flat = gold * np.where(np.arange(20) % 2, 0.001, 1)[:, None]
    found = curves(np.stack([gold, flat]), gold, range(1, 17))
    assert np.abs(found.gold[0] - found.gold[1]).max() < 1e-12


def test_weights_do_not_overflow_and_add_to_one() -> None:
    weights = selection_weights(12_600, [1, 2, 1000, 12_600])
    assert weights.sum(axis=0) == pytest.approx(np.ones(4)) and (weights[:, 3][:-1] == 0).all()
    assert sizes_up_to(5) == [1, 2, 3, 4, 5]
    large = sizes_up_to(12_600)
    assert large[:17] == [*range(1, 17), 19] and large[-1] == 12_600 and len(large) < 60


def test_peaks_are_those_of_the_worked_case() -> None:
    """F3: alpha 2, beta 0.5."""
    parameters = np.array([2.0, 0.5])
    assert [float(one) for one in peaks(parameters, "best_of_n")] == [2.0, 2.0]
    d, gold = peaks(parameters, "rl")
    assert (float(d), float(gold)) == pytest.approx((20.0855369, 10.0427685), abs=1e-7)


@pytest.mark.parametrize("form", ["best_of_n", "rl"])
def test_fits_are_those_of_scipy(form: str) -> None:
    rng = np.random.default_rng(3)
    d = np.sort(rng.uniform(0.5, 4, 12))
    gains = 1.5 * d - 0.3 * d**2 + rng.normal(0, 0.05, 12)
    own = {
        "best_of_n": lambda x, alpha, beta: x * (alpha - beta * x),
        "rl": lambda x, alpha, beta: x * (alpha - beta * np.log(x)),
    }[form]
    expected, _ = curve_fit(own, d, gains, p0=(1.0, 0.1))
    assert fit(d, gains, form) == pytest.approx(expected, rel=1e-5)  # type: ignore[arg-type]
    residuals = gains - own(d, *expected)
    assert float(rmse(d, gains, form)) == pytest.approx(np.sqrt(np.mean(residuals**2)))  # type: ignore[arg-type]
    assert fit(d, np.stack([gains, 2 * gains]), form)[1] == pytest.approx(2 * expected, rel=1e-5)  # type: ignore[arg-type]


def test_a_curve_is_called_by_its_shape() -> None:
    d = np.sqrt(kl_bound(np.arange(2, 17)))
    shapes = {
        "inner_peak": d * (2 - 1.0 * d),
        "beyond_range": d * (2 - 0.3 * d),
        "rising": d * (2 + 0.3 * d),
        "falling": d * (-1 - 0.3 * d),
        "flat": 0 * d,
        "poor_fit": np.where(np.arange(15) % 2, 1.0, -1.0),
    }
    found = statuses(d, np.stack(list(shapes.values())), "best_of_n")
    assert found.tolist() == list(shapes)
    peak = over_optimisation(d, shapes["inner_peak"], "best_of_n")
    assert (peak.d_peak, peak.kl_peak, peak.gold_peak) == pytest.approx((1.0, 1.0, 1.0))
    assert peak.n_peak is not None and log(peak.n_peak) - (peak.n_peak - 1) / peak.n_peak == pytest.approx(1)
    assert peak.drop_after_peak == pytest.approx(1 - d[-1] * (2 - d[-1])) and peak.n_points == 15
    beyond = over_optimisation(d, shapes["beyond_range"], "best_of_n")
    assert beyond.d_peak == pytest.approx(2 / 0.6) and beyond.drop_after_peak is None
    rising = over_optimisation(d, shapes["rising"], "best_of_n")
    assert (rising.d_peak, rising.n_peak) == (None, None)
    few = over_optimisation(np.array([0.0, 1, 2]), np.array([0.0, 1, 2]), "rl")
    assert (few.status, few.alpha, few.n_points) == ("fewer than 3 points", None, 2)


def test_n_is_found_from_its_divergence() -> None:
    n = np.array([1.0, 2, 16, 1000])
    assert n_at_kl(kl_bound(n)) == pytest.approx(n)


def test_an_ensemble_chooses_by_its_own_order() -> None:
    """F5: the best of four by the mean is d, whose gold is 3; a lambda of 0 is the mean."""
    members = np.array([[1.0, 0.9, 0.5, 0.2], [0, 0.1, 0.9, 5]])
    mean = members.mean(axis=0)
    assert (uwo(members, 0.0) == mean).all()
    assert curves(mean[None, None], np.array([[0.0, 1, 2, 3]]), [4]).gold[0, 0, -1] == 3

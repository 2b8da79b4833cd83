"""What searches chose against what is known: by hand, and what a vector at random would give."""

from __future__ import annotations

import numpy as np
import pytest

from models_train.synthetic.checks.choices import (
    FEW_RATES,
    Merge,
    RateSearch,
    likeness,
    merge_checks,
    random_likeness,
    rate_checks,
)
from models_train.synthetic.checks.rows import TOO_FEW, Check
from models_train.synthetic.preferences import TRUE_WEIGHTS


def of_all(checks: list[Check], statistic: str, baseline: str) -> Check:
    (found,) = (c for c in checks if (c.statistic, c.baseline_name, c.model_id) == (statistic, baseline, None))
    return found


def test_a_multiple_of_the_truth_is_the_truth() -> None:
    true = np.array(TRUE_WEIGHTS)
    assert likeness(np.stack([true, 3 * true]), true) == pytest.approx(np.array([[1, 0], [1, 0]]))
    # (1, 0, ...) against (3, 4, 0, ...)/5: cosine 0.6, errors 0.4 and 0.8
    found = likeness(np.array([[1.0, 0, 0, 0, 0]]), np.array([3.0, 4, 0, 0, 0]))
    assert found[0] == pytest.approx([0.6, 0.8])


def test_a_vector_at_random_is_the_mean_of_many_drawn() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, 21, (100_000, 5)) * np.array([1, 1, 1, 1, -1.0])
    expected = likeness(drawn, np.array(TRUE_WEIGHTS)).mean(axis=0)
    assert random_likeness(TRUE_WEIGHTS) == pytest.approx(expected, abs=0.003)


def test_merge_vectors_and_their_median() -> None:
    weights = [(0.65, 0.8, 0.45, 0.1, -0.4), (1, 1, 1, 1, -1), (1, 0, 0, 0, 0), (0, 1, 0, 0, 0)]
    merges = [Merge(f"m{place}", f"m{place}", weight) for place, weight in enumerate(weights)]
    checks = merge_checks(merges, TRUE_WEIGHTS, 300, "test")
    norm = np.linalg.norm(TRUE_WEIGHTS)
    expected = [1, sum(map(abs, TRUE_WEIGHTS)) / norm / np.sqrt(5), 0.65 / norm, 0.8 / norm]
    mine = {c.model_id: c.value for c in checks if (c.statistic, c.baseline_name) == ("cosine", "random_vector")}
    assert [mine[f"m{place}"] for place in range(4)] == pytest.approx(expected)
    whole = of_all(checks, "cosine", "equal_weights")
    assert whole.value == pytest.approx(np.median(expected)) and whole.n == 4
    assert whole.baseline == pytest.approx(expected[1])
    assert min(expected) <= whole.low <= whole.value <= whole.high <= 1
    assert of_all(checks, "largest_error", "equal_weights").value == pytest.approx(
        np.median(likeness(np.array(weights), np.array(TRUE_WEIGHTS))[:, 1])
    )


def test_without_enough_reward_models_there_is_no_median() -> None:
    one = Merge("m", "m", (1, 0, 0, 0, 0))
    assert of_all(merge_checks([], TRUE_WEIGHTS, 10, "test"), "cosine", "random_vector").reason == TOO_FEW
    checks = merge_checks([one], TRUE_WEIGHTS, 10, "test")
    assert of_all(checks, "cosine", "random_vector").value is None
    assert [c.value is not None for c in checks if c.model_id] == [True] * 4


def search(place: int, chosen: float | None, n_rates: int = 3) -> RateSearch:
    mean, best = (None, None) if chosen is None else (chosen - 2, chosen + 1)
    return RateSearch(f"m{place}", f"m{place}", "bradley_terry", chosen, mean, best, n_rates)


def test_the_rate_chosen_against_the_mean_and_the_best() -> None:
    checks = rate_checks([search(place, 70.0 + place) for place in range(5)], 300, "test")
    accuracy = of_all(checks, "accuracy", "mean_rate")
    assert (accuracy.value, accuracy.baseline, accuracy.n, accuracy.objective) == (72, 70, 5, "bradley_terry")
    assert 70 <= accuracy.low < 72 < accuracy.high <= 74
    gain, behind = of_all(checks, "gain_points", "no_gain"), of_all(checks, "shortfall_points", "mean_rate")
    assert (gain.value, gain.low, gain.high, gain.baseline) == (2, 2, 2, 0)
    assert (behind.value, behind.baseline) == (1, 3)
    assert sum(c.model_id is not None for c in checks) == 15


def test_a_search_without_a_choice_says_why() -> None:
    others = [search(place, 60.0) for place in range(2, 6)]
    checks = rate_checks([search(0, None), search(1, 70.0, n_rates=1), *others], 50, "t")
    reasons = {c.model_id: c.reason for c in checks if c.reason}
    assert reasons == {"m0": FEW_RATES, "m1": FEW_RATES}
    assert of_all(checks, "accuracy", "mean_rate").n == 4
    assert rate_checks([], 50, "t") == []

"""Estimates against a known truth: planted truth is found, broken truth is not, size and chance are baselines."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from models_train.synthetic.checks import (
    ALL,
    FEW_RATES,
    NO_SPREAD,
    SIZE,
    TOO_FEW,
    Check,
    Merge,
    Models,
    RateSearch,
    domain_share_checks,
    likeness,
    merge_checks,
    mix_distance_checks,
    random_likeness,
    rate_checks,
    true_distances,
)
from models_train.synthetic.preferences import TRUE_WEIGHTS
from models_train.synthetic.resampling import draws

DOMAINS = ("Book", "Github", "Wikipedia")
KINDS = ("presence_score", "min_k")
N = 12


def models(n: int = N, pretrained: list[str] | None = None) -> Models:
    generator = np.random.default_rng(1)
    shares = generator.dirichlet(np.ones(len(DOMAINS)), n)
    names = pretrained or [f"m{place}" for place in range(n)]
    return Models(names, DOMAINS, shares, generator.normal(size=n), draws(names, 400, "test"))


def planted(lab: Models) -> dict[tuple[str, str], np.ndarray]:
    """presence_score rises with the share; min_k has nothing to do with it."""
    noise = np.random.default_rng(2)
    scores = {("presence_score", name): np.exp(lab.shares[:, place]) for place, name in enumerate(DOMAINS)}
    return scores | {("min_k", name): noise.permutation(lab.shares[:, 0]) for name in DOMAINS}


def the(checks: list[Check], **wanted: str | None) -> Check:
    (found,) = (one for one in checks if all(getattr(one, name) == value for name, value in wanted.items()))
    return found


def test_a_planted_rise_is_a_correlation_of_one_and_chance_is_none() -> None:
    lab = models()
    scores = planted(lab)
    checks = domain_share_checks(lab, scores, KINDS)
    for place, domain in enumerate(DOMAINS):
        good = the(checks, statistic="spearman", domain=domain, score_kind="presence_score")
        assert (good.value, good.low, good.high, good.n) == (1, 1, 1, N)
        size = stats.spearmanr(lab.size, lab.shares[:, place]).statistic
        assert (good.baseline, good.baseline_name) == (pytest.approx(size), SIZE)
        held = the(checks, statistic="spearman_given_size", domain=domain, score_kind="presence_score")
        assert held.value == pytest.approx(1)
        chance = the(checks, statistic="spearman", domain=domain, score_kind="min_k")
        assert chance.value == pytest.approx(stats.spearmanr(scores["min_k", domain], lab.shares[:, place]).statistic)
        assert chance.low < 0 < chance.high
    bad = [the(checks, statistic="spearman", domain=domain, score_kind="min_k").value for domain in DOMAINS]
    assert the(checks, statistic="spearman", domain=ALL, score_kind="min_k").value == pytest.approx(np.mean(bad))


def test_kinds_differ_by_the_difference_of_their_correlations_on_the_same_draws() -> None:
    lab = models()
    scores = planted(lab)
    scores |= {("same", name): scores["min_k", name] for name in DOMAINS}
    checks = domain_share_checks(lab, scores, (*KINDS, "same"))
    one, other = (the(checks, statistic="spearman", domain="Book", score_kind=kind) for kind in KINDS)
    found = the(checks, domain="Book", score_kind="presence_score", compared_with="min_k")
    assert found.value == pytest.approx(one.value - other.value) and found.low > 0
    equal = the(checks, domain="Book", score_kind="min_k", compared_with="same")
    assert (equal.value, equal.low, equal.high) == (0, 0, 0), "paired: no draw tells equals apart"
    size = the(checks, domain="Book", score_kind="presence_score", compared_with=SIZE)
    assert size.value == pytest.approx(1 - one.baseline)


def test_distances_of_scores_that_follow_the_mix_order_the_pairs() -> None:
    """Histograms that are the mix itself: distances of scores are those of the mixes."""
    lab = models()
    of_domain = [np.stack([lab.shares[:, place], 1 - lab.shares[:, place]], 1) for place in range(len(DOMAINS))]
    counts = {("presence_score", name): 1e6 * of_domain[place] for place, name in enumerate(DOMAINS)}
    counts["presence_score", ALL] = 1e6 * lab.shares
    checks = mix_distance_checks(lab, counts, ["presence_score"])
    pairs = list(combinations(range(N), 2))
    for domain in (*DOMAINS, ALL):
        found = the(checks, statistic="spearman", domain=domain)
        assert found.value == pytest.approx(1) and found.n == len(pairs)
        true = true_distances(lab, domain)
        size = stats.spearmanr([abs(lab.size[a] - lab.size[b]) for a, b in pairs], true).statistic
        assert found.baseline == pytest.approx(size, abs=1e-3), "sizes are compared to six digits"
    whole = [jensenshannon(lab.shares[a], lab.shares[b], base=2) for a, b in pairs]
    assert true_distances(lab, ALL) == pytest.approx(whole, abs=1e-6)
    two = [jensenshannon(of_domain[0][a], of_domain[0][b], base=2) for a, b in pairs]
    assert true_distances(lab, "Book") == pytest.approx(two, abs=1e-6)


def test_pairs_of_models_with_scores_unlike_their_mixes_are_not_ordered() -> None:
    lab = models()
    noise = np.random.default_rng(4)
    counts = {("presence_score", name): noise.integers(1, 50, (N, 8)).astype(float) for name in (*DOMAINS, ALL)}
    for domain in (*DOMAINS, ALL):
        found = the(mix_distance_checks(lab, counts, ["presence_score"]), statistic="spearman", domain=domain)
        assert found.low < 0 < found.high


def test_models_are_drawn_not_pairs() -> None:
    """66 pairs of 12 models: drawing pairs would give an interval that is far too narrow."""
    lab = models()
    noise = np.random.default_rng(8)
    counts = {("presence_score", ALL): noise.integers(1, 50, (N, 8)).astype(float)}
    counts |= {("presence_score", name): counts["presence_score", ALL] for name in DOMAINS}
    found = the(mix_distance_checks(lab, counts, ["presence_score"]), statistic="spearman", domain=ALL)
    a = [jensenshannon(*counts["presence_score", ALL][list(pair)], base=2) for pair in combinations(range(N), 2)]
    of_pairs = stats.bootstrap(
        (a, true_distances(lab, ALL)),
        lambda x, y: stats.spearmanr(x, y).statistic,
        paired=True, vectorized=False, n_resamples=300, method="percentile", rng=0,
    ).confidence_interval  # fmt: skip
    assert found.high - found.low > 1.2 * (of_pairs.high - of_pairs.low)


def test_a_model_without_a_kind_of_score_is_left_out_of_that_kind() -> None:
    lab = models()
    scores = planted(lab)
    scores["min_k", "Book"][3] = np.nan
    checks = domain_share_checks(lab, scores, KINDS)
    assert the(checks, statistic="spearman", domain="Book", score_kind="min_k").n == N - 1
    assert the(checks, statistic="spearman", domain="Github", score_kind="min_k").n == N
    assert the(checks, domain="Book", score_kind="presence_score", compared_with="min_k").n == N - 1
    assert the(checks, statistic="spearman", domain=ALL, score_kind="min_k").n == N - 1
    histogram = np.arange(1, N + 1)[:, None] ** np.arange(4.0)
    counts = {(kind, name): histogram.copy() for kind in KINDS for name in (*DOMAINS, ALL)}
    counts["min_k", "Book"][3] = 0
    found = mix_distance_checks(lab, counts, KINDS)
    assert the(found, statistic="spearman", domain="Book", score_kind="min_k").n == (N - 1) * (N - 2) / 2


def test_too_few_pretrained_models_say_nothing() -> None:
    """Six models, but of three pre-trainings."""
    lab = models(6, ["a", "a", "b", "b", "c", "c"])
    for check in domain_share_checks(lab, planted(lab), KINDS):
        assert (check.value, check.low, check.high, check.reason, check.n) == (None, None, None, TOO_FEW, 6)


def test_a_share_that_is_the_same_for_all_has_no_rank() -> None:
    lab = models()
    shares = lab.shares.copy()
    shares[:, 0] = 0.2
    lab = replace(lab, shares=shares)
    checks = domain_share_checks(lab, planted(lab), KINDS)
    found = the(checks, statistic="spearman", domain="Book", score_kind="presence_score")
    assert (found.value, found.reason, found.baseline) == (None, NO_SPREAD, None)
    assert the(checks, statistic="spearman", domain=ALL, score_kind="presence_score").value == 1, "of the other two"


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

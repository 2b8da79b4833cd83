"""Scores against true mixes: planted truth is found, broken truth is not, size is held against it."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from models_train.synthetic.checks.ranks import ALL, Models, domain_share_checks, mix_distance_checks, true_distances
from models_train.synthetic.checks.resampling import draws
from models_train.synthetic.checks.rows import NO_SPREAD, SIZE, TOO_FEW, Check

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

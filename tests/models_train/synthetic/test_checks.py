"""Estimates against a known truth: found within cells, lost in the pool, silent with too few; oracles, merges, rates.

What a whole lab gives is in tests/dbt/test_lab_marts.py.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models_train.data.records import ATTRIBUTES
from models_train.synthetic.checks import (
    FEW_RATES,
    NO_SPREAD,
    POOLED,
    TOO_FEW,
    WITHIN,
    Check,
    Merge,
    RateSearch,
    cosine_checks,
    distance_checks,
    merge_checks,
    rate_checks,
    share_checks,
)
from models_train.synthetic.preferences import TRUE_WEIGHTS
from models_train.synthetic.resampling import draws

DOMAINS = ("Book", "Github", "Wikipedia")
MIXES = np.random.default_rng(1).dirichlet(np.ones(len(DOMAINS)), 6)
LEVELS = {"short": (1000, 0.0), "long": (4000, 3.0)}
"""Tokens, and how much higher all scores are, of each cell."""


def drawn(n: int = len(MIXES)) -> np.ndarray:
    return draws([str(mix) for mix in range(n)], 400, "test")


def scores(noise: float = 0.0, n: int = len(MIXES)) -> pl.DataFrame:
    """Presence scores that rise with the share, and with the cell; noise: its standard deviation."""
    random = np.random.default_rng(2)
    return pl.DataFrame(
        [
            {
                "model_id": f"{cell}-{mix}", "cell": cell, "mix": mix + 1, "domain": domain, "share": share,
                "score_kind": "presence_score", "pretraining_tokens": tokens,
                "mean_score": share + level + noise * random.normal(),
            }
            for cell, (tokens, level) in LEVELS.items()
            for mix in range(n)
            for domain, share in zip(DOMAINS, MIXES[mix], strict=True)
        ]
    )  # fmt: skip


def the(checks: list[Check], **wanted: str | None) -> Check:
    (found,) = (one for one in checks if all(getattr(one, name) == value for name, value in wanted.items()))
    return found


def test_a_planted_share_is_found_in_cells_and_lost_in_the_pool() -> None:
    checks = list(share_checks(scores(), drawn()))
    for cell in (*LEVELS, WITHIN):
        found = the(checks, check_name="domain_share", cell=cell)
        assert (found.value, found.low, found.high, found.oracle) == (1, 1, 1, 1)
    assert the(checks, check_name="domain_share", cell=WITHIN).n == 2 * 6 * 3
    pooled = the(checks, check_name="domain_share", cell=POOLED)
    assert pooled.value is not None and pooled.value < 0.7


def test_a_figure_is_the_mean_of_scipys_over_domains_and_cells() -> None:
    frame = scores(noise=0.3)
    expected = [
        stats.spearmanr(part["mean_score"], part["share"]).statistic
        for _, part in frame.group_by("cell", "domain", maintain_order=True)
    ]
    found = the(list(share_checks(frame, drawn())), check_name="domain_share", cell=WITHIN)
    assert found.value == pytest.approx(np.mean(expected))
    assert found.low is not None and found.high is not None and found.low < found.value < found.high


def test_too_few_mixes_say_nothing_and_one_share_for_all_has_no_rank() -> None:
    for check in share_checks(scores(n=3), drawn(3)):
        assert (check.value, check.low, check.high, check.reason) == (None, None, None, TOO_FEW)
    equal = scores().with_columns(share=pl.lit(0.2))
    found = the(list(share_checks(equal, drawn())), check_name="domain_share", cell=WITHIN)
    assert (found.value, found.reason) == (None, NO_SPREAD)


def test_an_oracle_of_histograms_knows_what_the_scores_blur() -> None:
    """Distances without any relation to the mixes: the oracle's, of the same documents, order the pairs well."""
    random, n_documents = np.random.default_rng(3), 200
    own = scores(noise=0.5).filter(cell="short")
    documents = own.join(pl.DataFrame({"document_id": range(n_documents)}), how="cross").with_columns(
        pl.col("document_id").cast(pl.String),
        score=pl.col("mean_score") + pl.Series(0.2 * random.normal(size=own.height * n_documents)),
    )
    names = own["model_id"].unique().sort().to_list()
    pairs = [
        {
            "score_kind": "presence_score", "model_a": names[a], "model_b": names[b], "cell_a": "short",
            "cell_b": "short", "mix_a": a + 1, "mix_b": b + 1, "budget_distance": 0.0,
            "all_documents": random.uniform(), "domain_wise": random.uniform(), "centred_means": random.uniform(),
            "share_distance": float(np.linalg.norm(MIXES[a] - MIXES[b])),
            "mix_distance": float(np.abs(MIXES[a] - MIXES[b]).sum()),
        }
        for a, b in combinations(range(len(names)), 2)
    ]  # fmt: skip
    checks = list(distance_checks(pl.DataFrame(pairs), documents, drawn()))
    assert {one.check_name for one in checks} == {
        f"mix_distance_{name}" for name in ("all_documents", "domain_wise", "centred_means")
    }, "without a difference of budgets there is nothing to hold against it"
    wise = the(checks, check_name="mix_distance_domain_wise", cell=WITHIN)
    assert wise.n == len(pairs) and wise.oracle is not None and wise.oracle > 0.9
    assert wise.low is not None and wise.high is not None and wise.low < 0 < wise.high
    centred = the(checks, check_name="mix_distance_centred_means", cell=WITHIN)
    truths = [[pair[name] for pair in pairs] for name in ("share_distance", "mix_distance")]
    assert centred.oracle == pytest.approx(stats.spearmanr(*truths).statistic)


def outcomes(n_models: int, n_items: int = 50) -> pl.DataFrame:
    margins = np.random.default_rng(5).normal(0.2, 1, (n_models, n_items, len(ATTRIBUTES)))
    rows = []
    for model in range(n_models):
        for item in range(n_items):
            own = margins[model, item]
            rows.append(
                {"model_id": f"m{model}", "pretrained_model_id": f"m{model}", "subset": "s", "item_id": str(item)}
                | {f"margin_{name}": float(value) for name, value in zip(ATTRIBUTES, own, strict=True)}
                | {"margin_merged": float(own[0]), "margin_equal": float(own[0]), "margin_true": -float(own[0])}
            )
    return pl.DataFrame(rows)


def test_equal_wins_are_a_gain_of_nothing() -> None:
    checks = merge_checks(outcomes(5))
    same = the(checks, model_id=None, baseline_name="equal_weights")
    assert (same.value, same.low, same.high) == (0, 0, 0) and same.oracle is not None and same.oracle > 0
    turned = the(checks, model_id=None, baseline_name="true_weights")
    assert turned.value is not None and turned.baseline is not None
    assert turned.value == pytest.approx(100 - 2 * turned.baseline)


def test_few_reward_models_and_missing_pairs_are_said() -> None:
    assert the(merge_checks(outcomes(3)), model_id=None, baseline_name="equal_weights").reason == TOO_FEW
    reasons = {one.reason for one in merge_checks(outcomes(5)[1:])}
    assert reasons == {"a test pair has no rewards"} and merge_checks(outcomes(0)) == []


def test_cosines_and_their_median() -> None:
    weights = [(0.65, 0.8, 0.45, 0.1, -0.4), (1.3, 1.6, 0.9, 0.2, -0.8), (1, 0, 0, 0, 0), (0, 1, 0, 0, 0)]
    checks = cosine_checks([Merge(f"m{n}", f"m{n}", one) for n, one in enumerate(weights)], TRUE_WEIGHTS, 300, "test")
    norm = np.linalg.norm(TRUE_WEIGHTS)
    expected = [1, 1, 0.65 / norm, 0.8 / norm]
    assert [one.value for one in checks[:4]] == pytest.approx(expected)
    whole = checks[-1]
    assert whole.value == pytest.approx(np.median(expected)) and whole.n == 4
    assert whole.baseline == pytest.approx(sum(map(abs, TRUE_WEIGHTS)) / norm / np.sqrt(5))
    assert cosine_checks([], TRUE_WEIGHTS, 10, "test")[0].reason == TOO_FEW


def search(place: int, chosen: float | None, n_rates: int = 3) -> RateSearch:
    mean, best = (None, None) if chosen is None else (chosen - 2, chosen + 1)
    return RateSearch(f"m{place}", f"m{place}", "bradley_terry", chosen, mean, best, n_rates)


def test_the_rate_chosen_against_the_mean_and_the_best() -> None:
    checks = rate_checks([search(place, 70.0 + place) for place in range(5)], 300, "test")
    accuracy = the(checks, statistic="accuracy", model_id=None)
    assert (accuracy.value, accuracy.baseline, accuracy.oracle, accuracy.n) == (72, 70, 73, 5)
    assert accuracy.low is not None and accuracy.high is not None and 70 <= accuracy.low < 72 < accuracy.high <= 74
    gain = the(checks, statistic="gain_points", model_id=None)
    assert (gain.value, gain.low, gain.high, gain.baseline, gain.oracle) == (2, 2, 2, 0, 3)
    assert sum(c.model_id is not None for c in checks) == 10


def test_a_search_without_a_choice_says_why() -> None:
    others = [search(place, 60.0) for place in range(2, 6)]
    checks = rate_checks([search(0, None), search(1, 70.0, n_rates=1), *others], 50, "t")
    reasons = {c.model_id: c.reason for c in checks if c.reason}
    assert reasons == {"m0": FEW_RATES, "m1": FEW_RATES}
    assert the(checks, statistic="accuracy", model_id=None).n == 4
    assert rate_checks([], 50, "t") == []

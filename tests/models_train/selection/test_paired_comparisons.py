"""The weighted sign-flip test against SciPy: McNemar's exact test without weights, permutations of items with them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models_train.selection.paired_comparisons import SCORE, flipped_differences, sign_flip_tests

KEY = {"study_id": "s", "objective": "regression", "model_id": "a", "other_objective": "regression"}


def counts(*subsets: tuple[str, str, int, int, int, int]) -> pl.DataFrame:
    """Rows of (category, subset, weight, pairs won by the model only, by the other only, by both)."""
    names = ("category", "subset", "weight", "n_only_model", "n_only_other", "n_both")
    rows = [KEY | {"other_model_id": "b", "n_neither": 0} | dict(zip(names, row, strict=True)) for row in subsets]
    return pl.DataFrame(rows)


def p_values(*subsets: tuple[str, str, int, int, int, int], flips: int = 100_000) -> dict[str, float]:
    found = sign_flip_tests(counts(*subsets), flips=flips)
    return dict(found.select("category", "sign_flip_p").iter_rows())


@pytest.mark.parametrize(("only_model", "only_other"), [(12, 4), (4, 12), (8, 8), (5, 0), (30, 18)])
def test_one_subset_is_mcnemar_s_exact_test(only_model: int, only_other: int) -> None:
    p = p_values(("chat", "one", 1, only_model, only_other, 60))["chat"]
    expected = stats.binomtest(only_model, only_model + only_other).pvalue
    assert p == pytest.approx(expected, abs=0.005)


def test_weights_count_as_in_a_permutation_of_items() -> None:
    """Of few items, so that SciPy flips all 2^14 signs: one subset has 9 tenths of the weight, the other one."""
    subsets = [("chat", "heavy", 9, 6, 1, 5), ("chat", "light", 1, 1, 6, 2)]
    items = [sign * share / n for share, n, a, b in ((0.9, 12, 6, 1), (0.1, 9, 1, 6)) for sign in [1] * a + [-1] * b]
    exact = stats.permutation_test(
        (np.array(items),), lambda x, axis: x.sum(axis=axis), permutation_type="samples", n_resamples=np.inf
    )
    assert p_values(*subsets)["chat"] == pytest.approx(exact.pvalue, abs=0.005)
    # Each wins 7 pairs: without weights there is no difference at all.
    assert exact.pvalue < 0.2


def test_the_score_needs_all_categories_of_the_study_and_a_clear_winner_has_the_least_p() -> None:
    rows = [(category, category, 1, 60, 2, 10) for category in ("chat", "chat_hard", "safety", "reasoning")]
    assert p_values(*rows, flips=1_000)[SCORE] == pytest.approx(1 / 1001)
    assert p_values(*rows[:2], flips=1_000)[SCORE] == pytest.approx(1 / 1001)
    both = pl.concat([counts(*rows), counts(*rows[:3]).with_columns(pl.lit("c").alias("other_model_id"))])
    found = sign_flip_tests(both, flips=1_000).filter(category=SCORE)
    assert found["other_model_id"].to_list() == ["b"]


def test_equal_models_have_p_one() -> None:
    assert p_values(("chat", "one", 1, 0, 0, 5), flips=100) == {"chat": 1.0, SCORE: 1.0}


def test_flips_have_the_variance_of_the_decided_pairs() -> None:
    """Var of the mean of n pairs with m decided ones is m / n^2."""
    drawn = flipped_differences(np.array([40, 9]), np.array([100, 30]), 40_000, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.003)
    np.testing.assert_allclose(drawn.var(axis=0), [40 / 100**2, 9 / 30**2], rtol=0.03)

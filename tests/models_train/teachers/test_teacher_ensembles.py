"""Ensembles and uncertainty: F3 of the specification, members of each kind, figures against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from models_train.teachers.ensembles import FORMULAS, Ensemble, Source, ensembles_of, soft_min, uwo
from models_train.teachers.resampling import prompt_counts
from models_train.teachers.uncertainty import (
    calibration,
    calibration_sums,
    confidence,
    confidence_sums,
    coverage,
    gold_pairs,
)

MEMBERS = np.array([[1.0, 3], [2, 0], [6, 6]])
ALONE = np.ones((1, 3), np.float32)


def test_formulas_are_those_of_the_worked_case() -> None:
    """F3."""
    found = {formula.name: formula.of(MEMBERS) for formula in FORMULAS}
    assert found["mean"].tolist() == [3, 3] and found["min"].tolist() == [1, 0]
    assert found["uwo"] == pytest.approx([0.6666667, 0], abs=5e-8)
    assert uwo(MEMBERS, 0.5, ddof=1) == pytest.approx([-0.5, -1.5])
    assert found["mean_minus_std"] == pytest.approx([0.8397531, 0.5505103], abs=5e-8)
    assert found["median"].tolist() == [2, 3]
    # The worked case prints 1.0476655, a digit short: log 3 - log(1 + exp(-3) + exp(-6)) = 1.0476665.
    assert found["soft_min"] == pytest.approx([1.7804369, 1.0476665], abs=5e-8)
    assert soft_min(MEMBERS, 1e6) == pytest.approx(MEMBERS.mean(axis=0), abs=1e-4)
    assert soft_min(MEMBERS * 1000, 1e-3) == pytest.approx(1000 * MEMBERS.min(axis=0), abs=0.01)


def test_members_differ_in_nothing_else() -> None:
    sources = [
        Source("a/bt", "a", "bradley_terry", 0, "clean"),
        Source("a/bt/s1", "a", "bradley_terry", 1, "clean"),
        Source("a/reg", "a", "regression", 0, "clean"),
        Source("b/bt", "b", "bradley_terry", 0, "clean"),
        Source("b/bt/noisy", "b", "bradley_terry", 0, "flip25"),
        Source("hub:x"),
    ]
    expected = [
        Ensemble("seeds", "a/bradley_terry/clean", ("a/bt", "a/bt/s1")),
        Ensemble("bases", "bradley_terry/clean", ("a/bt", "b/bt")),
        Ensemble("objectives", "a", ("a/bt", "a/reg")),
    ]
    assert ensembles_of(sources) == expected == ensembles_of(reversed(sources))
    assert expected[0].ensemble_id == "ensemble:seeds/a/bradley_terry/clean"


GOLD = np.array([[0.0, 1, 1, np.nan], [2, 1, 0, 3], [1, 1, 1, 1]])


def test_pairs_are_those_that_differ_under_the_gold() -> None:
    pairs = gold_pairs(GOLD)
    listed = sorted(zip(pairs.prompt.tolist(), pairs.better.tolist(), pairs.worse.tolist(), strict=True))
    assert listed == [(0, 1, 0), (0, 2, 0), (1, 0, 1), (1, 0, 2), (1, 1, 2), (1, 3, 0), (1, 3, 1), (1, 3, 2)]


def test_calibration_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    gold = rng.normal(size=(5, 6))
    pairs = gold_pairs(gold)
    margins = np.round(rng.normal(0.5, 2, pairs.prompt.size), 1)
    found = calibration(calibration_sums(margins, pairs, 5), ALONE[:, :1].repeat(5, 1))
    p = 1 / (1 + np.exp(-np.concatenate([margins, -margins])))
    label = np.repeat([1.0, 0.0], margins.size)
    gaps, sizes = [], []
    for place in range(20):
        own = (p >= place / 20) & ((p < (place + 1) / 20) | (place == 19))
        if own.any():
            gaps.append(abs(p[own].mean() - label[own].mean()))
            sizes.append(own.sum())
    assert found["ece"][0] == pytest.approx(np.average(gaps, weights=sizes))
    assert found["mce"][0] == pytest.approx(max(gaps))
    assert found["brier"][0] == pytest.approx(np.mean((p - label) ** 2))


def test_confident_pairs_are_those_whose_bounds_do_not_overlap() -> None:
    """Three members, three prompts of a pair each: surely right, surely wrong, right but unsure."""
    pairs = gold_pairs(np.array([[1.0, 0], [1, 0], [1, 0]]))
    chosen = np.array([[5.0, 0, 1], [5.1, 0.1, -1], [5.2, 0.2, 3]])
    rejected = np.array([[0.0, 5, 0], [0.1, 5.1, 2], [0.2, 5.2, -2]])
    found = confidence(confidence_sums(chosen, rejected, pairs, 3), ALONE)
    shares = {name: values[0] for name, values in found.items()}
    expected = {"confident_true": 1 / 3, "confident_false": 1 / 3, "unconfident_true": 1 / 3, "unconfident_false": 0}
    for name, share in expected.items():
        assert shares[name] == pytest.approx(share)
    assert shares["ranking_0"] == pytest.approx(0.5 - 1) and shares["ranking_1"] == pytest.approx(0)
    assert shares["ranking_0.2"] == pytest.approx((1 / 3) / (0.8 * 2 / 3 + 0.2) - (1 / 3) / (0.8 / 3 + 0.2))


@pytest.mark.parametrize("tied", [False, True])
def test_coverage_is_that_of_a_plain_loop_and_of_random_order_within_ties(tied: bool) -> None:
    rng = np.random.default_rng(1)
    pairs = gold_pairs(rng.normal(size=(6, 5)))
    margins = rng.normal(0.5, 1, (3, pairs.prompt.size))
    if tied:
        margins = np.round(margins)
    found = coverage(margins, pairs, 6, ALONE[:, :1].repeat(6, 1))
    right, spread = margins.mean(axis=0) > 0, np.round(margins.std(axis=0), 9)
    curves = []
    for _ in range(2000 if tied else 1):
        order = np.lexsort([rng.random(spread.size), spread])
        curves.append(np.cumsum(right[order]) / np.arange(1, spread.size + 1))
    curve = np.mean(curves, axis=0)
    assert found["aurc"][0] == pytest.approx(np.mean(1 - curve), abs=0.003 if tied else 1e-12)
    half, most = spread.size // 2, spread.size * 4 // 5
    assert found["accuracy_at_50"][0] == pytest.approx(curve[half - 1], abs=0.02 if tied else 1e-12)
    assert found["accuracy_at_80"][0] == pytest.approx(curve[most - 1], abs=0.02 if tied else 1e-12)


def test_resampled_coverage_is_that_of_the_prompts_drawn() -> None:
    """With as few pairs as there are groups the resamples are exact, too."""
    rng = np.random.default_rng(2)
    gold = rng.normal(size=(10, 6))
    pairs = gold_pairs(gold)
    assert pairs.prompt.size == 150
    margins = rng.normal(0.3, 1, (4, pairs.prompt.size))
    counts = prompt_counts(10, 5, seed=3)
    found = coverage(margins, pairs, 10, counts)
    for place, row in enumerate(counts.astype(int)):
        repeated = np.repeat(np.arange(pairs.prompt.size), row[pairs.prompt])
        spread, right = margins.std(axis=0)[repeated], (margins.mean(axis=0) > 0)[repeated]
        order = np.argsort(spread, kind="stable")
        kept = right[order][: repeated.size // 2]
        assert found["accuracy_at_50"][place] == pytest.approx(kept.mean(), abs=0.02)
        error = np.mean(1 - np.cumsum(right[order]) / np.arange(1, repeated.size + 1))
        assert found["aurc"][place] == pytest.approx(error, abs=0.02)

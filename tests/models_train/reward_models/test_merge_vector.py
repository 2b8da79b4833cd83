"""The merge search against brute force in whole numbers: the same set of optima, the same choice, every tie."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from models_train.errors import UserError
from models_train.reward_models.merge_vector import best_merge, merged_margins, optimal_vectors

N_VECTORS = 21**5


def counts_of(differences: np.ndarray) -> np.ndarray:
    """Pairs won by every vector, by brute force in whole numbers: one 21^5 grid of merged differences per pair.

    differences: (n_pairs, 5), whole numbers. Axis i of the result is the size of weight i in units of 0.05.
    """
    won = np.zeros((21,) * 5, dtype=np.int16)
    sizes = np.arange(21, dtype=np.int64)
    for row in differences.astype(np.int64):
        parts = [sizes * value for value in (*row[:4], -row[4])]
        merged = np.add.outer(np.add.outer(parts[0], parts[1]), parts[2])
        merged = np.add.outer(merged, np.add.outer(parts[3], parts[4]))
        won += merged > 0
    return won


def optima_of(differences: np.ndarray) -> tuple[int, np.ndarray]:
    """Most pairs won, and the signed vectors that win them, ascending lexicographically."""
    counts = counts_of(differences)
    best = int(counts.max())
    vectors = np.argwhere(counts == best) * np.array([1, 1, 1, 1, -1])
    return best, vectors[np.lexsort(vectors.T[::-1])]


def choice_among(optima: np.ndarray, differences: np.ndarray) -> tuple[int, ...]:
    """By the definition: largest mean margin at Euclidean norm 1, then lexicographically smallest; exact."""
    total = [int(value) for value in differences.astype(np.int64).sum(axis=0)]

    def order(vector: list[int]) -> tuple[Fraction, list[int]]:
        margin = sum(level * value for level, value in zip(vector, total, strict=True))
        return -Fraction(margin * abs(margin), sum(level * level for level in vector)), vector

    return tuple(min((vector for vector in optima.tolist() if any(vector)), key=order))


def integer_ratings(rng: np.random.Generator, n_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole ratings from 0 to 4, as people give them: full of exact ties."""
    return rng.integers(0, 5, (n_pairs, 5)).astype(np.float64), rng.integers(0, 5, (n_pairs, 5)).astype(np.float64)


def float32_rewards(rng: np.random.Generator, n_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = rng.normal(2, 1, (n_pairs, 5))
    rejected = chosen - rng.normal(0.3, 1, (n_pairs, 5)) @ np.linalg.cholesky(np.full((5, 5), 0.6) + 0.4 * np.eye(5)).T
    return chosen.astype(np.float32), rejected.astype(np.float32)


def hopeless(rng: np.random.Generator, n_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """The rejected response is better in every attribute and shorter: no vector wins a pair."""
    chosen = rng.integers(0, 3, (n_pairs, 5)).astype(np.float64)
    return chosen, chosen + np.array([1.0, 1.0, 1.0, 1.0, -1.0])


@pytest.mark.parametrize(
    ("kind", "n_pairs", "seed"),
    [(integer_ratings, 25, 0), (integer_ratings, 24, 1), (float32_rewards, 25, 2), (integer_ratings, 1, 3)],
)
def test_the_optima_are_those_of_brute_force(kind: object, n_pairs: int, seed: int) -> None:
    chosen, rejected = kind(np.random.default_rng(seed), n_pairs)  # type: ignore[operator]
    exact = np.ldexp(chosen.astype(np.float64), 40) - np.ldexp(rejected.astype(np.float64), 40)
    assert np.array_equal(exact, np.rint(exact)), "whole numbers, so that int64 is exact"
    n_won, expected = optima_of(exact)
    found_won, found = optimal_vectors(exact)
    assert found_won == n_won
    assert np.array_equal(found, expected)
    choice = best_merge(chosen, rejected)
    assert (choice.n_won, choice.n_optima, choice.n_pairs) == (n_won, len(expected), n_pairs)
    if len(expected) < 50_000:
        taken = choice_among(expected, exact)
        assert choice.weights == tuple(level / 20 for level in taken)
    merged = exact @ np.rint(20 * np.array(choice.weights))
    assert (choice.n_won, choice.n_ties) == (np.sum(merged > 0), np.sum(merged == 0))
    normalised = np.array(choice.weights) / np.linalg.norm(choice.weights)
    expected_margin = np.mean((chosen.astype(np.float64) - rejected) @ normalised)
    assert choice.mean_margin == pytest.approx(expected_margin, rel=1e-12)


def test_no_vector_wins_a_pair() -> None:
    """Every vector is an optimum, the zero vector with them; the one taken has a direction and the best margin."""
    choice = best_merge(*hopeless(np.random.default_rng(0), 4))
    assert (choice.n_won, choice.n_optima) == (0, N_VECTORS)
    # margin of w is -(w1 + ... + w4 + |w5|) / |w|, least bad along an axis: the lexicographically smallest such one
    assert choice.weights == (0.0, 0.0, 0.0, 0.0, -1.0)
    assert choice.mean_margin == -1.0 and choice.n_ties == 0


def test_equal_rewards_are_ties_and_every_vector_an_optimum() -> None:
    rewards = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    choice = best_merge(rewards, rewards)
    assert (choice.n_won, choice.n_ties, choice.n_pairs, choice.n_optima) == (0, 7, 7, N_VECTORS)
    assert choice.weights == (0.0, 0.0, 0.0, 0.0, -1.0) and choice.mean_margin == 0.0


def test_parallel_vectors_have_one_margin_and_the_smallest_is_taken() -> None:
    """Differences along (1, 0, 0, 0, 0): every vector with a positive first weight wins; all multiples of the axis tie.

    In float64 the margins of 0.05 (1,0,0,0,0) and 0.15 (1,0,0,0,0) may differ in the last digit: the choice must not.
    """
    chosen = np.zeros((3, 5))
    chosen[:, 0] = [0.1, 0.7, 1.3]
    choice = best_merge(chosen, np.zeros((3, 5)))
    assert choice.n_optima == 20 * 21**4
    assert choice.weights == (0.05, 0.0, 0.0, 0.0, 0.0)


def test_a_tie_that_floats_would_break_is_a_tie() -> None:
    """0.15 x 0.125 - 0.05 x 0.375 is zero, though not in float64."""
    weights = np.array([0.15, 0.05, 0.0, 0.0, 0.0])
    chosen = np.array([[0.125, -0.375, 0.0, 0.0, 0.0], [0.25, 0.5, 0.0, 0.0, 0.0]])
    assert (chosen @ weights)[0] != 0.0
    margins = merged_margins(weights, chosen, np.zeros_like(chosen))
    assert margins[0] == 0.0 and margins[1] == pytest.approx(0.0625, rel=1e-15)


def test_scaling_by_powers_of_two_changes_nothing_but_the_margin() -> None:
    chosen, rejected = float32_rewards(np.random.default_rng(5), 40)
    plain = best_merge(chosen, rejected)
    for power in (-900, 900):
        scaled = best_merge(np.ldexp(chosen.astype(float), power), np.ldexp(rejected.astype(float), power))
        assert scaled.weights == plain.weights and scaled.n_optima == plain.n_optima
        assert scaled.mean_margin == np.ldexp(plain.mean_margin, power)


def test_more_pairs_than_one_byte_counts() -> None:
    """300 pairs that one vector wins all of: counts need nine digits."""
    rng = np.random.default_rng(1)
    differences = rng.integers(-50, 51, (4000, 5)).astype(np.float64)
    differences = differences[differences @ [7, 1, 3, 0, -2] > 0][:300]
    n_won, optima = optimal_vectors(differences)
    assert n_won == len(differences) == 300
    assert [7, 1, 3, 0, -2] in optima.tolist()
    assert (differences @ optima.T > 0).all()


@pytest.mark.parametrize(
    ("chosen", "rejected", "words"),
    [
        (np.full((3, 5), np.nan), np.zeros((3, 5)), "3 of 3 pairs have an attribute reward that is NaN or infinite"),
        (np.zeros((2, 5)), np.array([[0.0] * 5, [0, 0, -np.inf, 0, 0]]), "the first is pair 1"),
        (np.zeros((0, 5)), np.zeros((0, 5)), "no validation pairs"),
        (np.zeros((3, 4)), np.zeros((3, 4)), r"\(3, 4\)"),
        (np.zeros((3, 5)), np.zeros((2, 5)), r"\(3, 5\) and \(2, 5\)"),
    ],
)
def test_bad_rewards_are_an_error_in_words(chosen: np.ndarray, rejected: np.ndarray, words: str) -> None:
    with pytest.raises(UserError, match=words):
        best_merge(chosen, rejected)

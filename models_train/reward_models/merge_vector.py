"""The merge vector that turns five attribute rewards into one reward: exact, over all 4,084,101 vectors (Eq. 4).

A vector is w in {0, .05, ..., 1}^4 x {0, -.05, ..., -1}, verbosity last and negative (definitions, Section 9); inside
it is the integers k = 20 w. A pair of attribute differences d = chosen - rejected is won iff k.d > 0.

Counting. For one pair write k.d = a + b, a from the first three weights (9,261 values), b from the last two (441
values): won iff -b < a. With the -b sorted, the last weights that win are the first few of them: one of only 442 bit
sets, found by a binary search of a. How many pairs every vector wins is then a sum of bit sets: the sums are held as
binary digits, one array of bits per digit, and full adders (XOR and majority) on 64-bit words add 64 vectors at a time.

Exactness. Rewards are taken on a grid: whole multiples of 2^-45 of the power of two above the largest magnitude. That
changes no float32 reward above 2^-21 of the largest. On the grid a difference is an integer of at most 2^46 and k.d at
most 100 times as large, below 2^53: every product and sum is exact in float64, in whatever order it is taken. So a tie
is a tie, and the optima are those of rational arithmetic on the grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np

from models_train.errors import UserError

N_ATTRIBUTES = 5
N_LEVELS = 21
"""Number of values of one weight: 0 to 20 times 0.05."""
_GRID_BITS = 45
_N_CHUNKS = 4
"""Parts of the first three weights; the digits of one part fit a core's cache."""
_LEVELS = np.arange(N_LEVELS, dtype=np.float64)
_FIRST = np.array(list(product(_LEVELS, _LEVELS, _LEVELS)))
_LAST = np.array(list(product(_LEVELS, -_LEVELS[::-1])))
_N_WORDS = -(-len(_LAST) // 64)
_NEAR = 1e-12
"""Relative distance within which margins are compared in whole numbers; float64 errs by less than 1e-14."""


@dataclass(frozen=True)
class MergeChoice:
    """The merge vector chosen, and how good it is on the pairs that it was chosen on.

    weights: of helpfulness, correctness, coherence, complexity, verbosity. n_ties: pairs with equal merged rewards.
    n_optima: merge vectors that win as many pairs. mean_margin: mean over pairs of the merged difference, the vector
    scaled to Euclidean norm 1; in units of the rewards.
    """

    weights: tuple[float, float, float, float, float]
    n_won: int
    n_ties: int
    n_pairs: int
    n_optima: int
    mean_margin: float


def best_merge(chosen: np.ndarray, rejected: np.ndarray) -> MergeChoice:
    """The merge vector that wins most pairs; chosen, rejected: attribute rewards, (n_pairs, 5), float.

    Among equals the one with the largest mean margin at Euclidean norm 1, then the lexicographically smallest. The zero
    vector has no direction: it counts among the optima where it is one (no vector wins a pair), but is never taken.
    Raises UserError for other shapes, no pairs, NaN or infinity.
    """
    differences, scale = _grid_differences(chosen, rejected)
    n_won, optima = optimal_vectors(differences)
    vector = _take(optima, differences)
    merged = differences @ vector
    margin = np.ldexp(merged.mean() / np.linalg.norm(vector), -scale)
    helpfulness, correctness, coherence, complexity, verbosity = (float(level) / (N_LEVELS - 1) for level in vector)
    return MergeChoice(
        weights=(helpfulness, correctness, coherence, complexity, verbosity),
        n_won=n_won,
        n_ties=int(np.count_nonzero(merged == 0)),
        n_pairs=len(differences),
        n_optima=len(optima),
        mean_margin=float(margin),
    )


def merged_margins(weights: np.ndarray, chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """Merged reward of chosen minus rejected, (n_pairs,), in units of the rewards; exact as in `best_merge`.

    weights: (5,), multiples of 0.05. Raises UserError as `best_merge` does.
    """
    differences, scale = _grid_differences(chosen, rejected)
    vector = np.rint(np.asarray(weights, dtype=np.float64) * (N_LEVELS - 1))
    return np.ldexp(differences @ vector, -scale) / (N_LEVELS - 1)


def optimal_vectors(differences: np.ndarray) -> tuple[int, np.ndarray]:
    """Most pairs won, and all vectors that win them, (n_optima, 5), in units of 0.05, ascending lexicographically.

    differences: (n_pairs, 5) whole numbers of at most 2^46.
    """
    winning_sets = [_growing_sets(row) for row in differences[:, 3:]]
    chunks = [
        _digits_of_counts(differences[:, :3] @ part.T, winning_sets) for part in np.array_split(_FIRST, _N_CHUNKS)
    ]
    digits = [np.concatenate(digit) for digit in zip(*chunks, strict=True)]
    best = np.broadcast_to(_bits(np.ones(len(_LAST), dtype=bool)), digits[0].shape)
    n_won = 0
    for place in reversed(range(len(digits))):
        having = best & digits[place]
        if having.any():
            best, n_won = having, n_won + (1 << place)
    having_any = np.flatnonzero(best.any(axis=1))
    first, last = np.nonzero(np.unpackbits(best[having_any].view(np.uint8), axis=1, count=len(_LAST)).view(bool))
    return n_won, np.hstack([_FIRST[having_any[first]], _LAST[last]])


def _grid_differences(chosen: np.ndarray, rejected: np.ndarray) -> tuple[np.ndarray, int]:
    """Chosen minus rejected as whole numbers (n_pairs, 5), and the power of two that they were multiplied by."""
    rewards = [np.asarray(side, dtype=np.float64) for side in (chosen, rejected)]
    shapes = [side.shape for side in rewards]
    if shapes[0] != shapes[1] or len(shapes[0]) != 2 or shapes[0][1] != N_ATTRIBUTES:
        raise UserError(f"attribute rewards of shapes {shapes[0]} and {shapes[1]}: give (pairs, {N_ATTRIBUTES}) twice")
    if shapes[0][0] == 0:
        raise UserError("no validation pairs: a merge vector is chosen on at least one")
    wrong = np.flatnonzero(~(np.isfinite(rewards[0]) & np.isfinite(rewards[1])).all(axis=1))
    if wrong.size:
        raise UserError(
            f"{wrong.size} of {shapes[0][0]} pairs have an attribute reward that is NaN or infinite, the first is pair "
            f"{wrong[0]} (counted from 0): no merge vector is chosen"
        )
    _, exponent = np.frexp(max(np.abs(side).max() for side in rewards))
    scale = _GRID_BITS - int(exponent)
    on_grid = [np.rint(np.ldexp(side, scale)) for side in rewards]
    return on_grid[0] - on_grid[1], scale


def _bits(flags: np.ndarray) -> np.ndarray:
    """Flags of the 441 pairs of last weights as bits: (..., 441) to (..., 7) words."""
    padded = np.zeros((*flags.shape[:-1], _N_WORDS * 64), dtype=bool)
    padded[..., : flags.shape[-1]] = flags
    return np.packbits(padded, axis=-1).view(np.uint64)


_ONE_BIT = _bits(np.eye(len(_LAST), dtype=bool))


def _growing_sets(last_differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For one pair: the thresholds -b ascending (441,), and the bits of the n smallest of them, (442, 7), n from 0."""
    thresholds = -(_LAST @ last_differences)
    order = np.argsort(thresholds)
    growing = np.zeros((len(_LAST) + 1, _N_WORDS), dtype=np.uint64)
    np.bitwise_or.accumulate(_ONE_BIT[order], axis=0, out=growing[1:])
    return thresholds[order], growing


def _digits_of_counts(firsts: np.ndarray, winning_sets: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Binary digits, lowest first, of the pairs won by every vector: arrays (n_first, 7) of words.

    firsts: a of every pair and first weights, (n_pairs, n_first). Two addends of one place wait for a third, as in
    carrying by hand, so that a pair costs one full adder on average.
    """
    shape = (firsts.shape[1], _N_WORDS)
    n_digits = len(winning_sets).bit_length()
    sums = [np.zeros(shape, dtype=np.uint64) for _ in range(n_digits)]
    waiting: list[np.ndarray | None] = [None] * n_digits
    for first, (thresholds, bits) in zip(firsts, winning_sets, strict=True):
        carry = bits.take(np.searchsorted(thresholds, first), axis=0)
        place = 0
        while (other := waiting[place]) is not None:
            waiting[place] = None
            carry = _add(sums[place], other, carry)
            place += 1
        waiting[place] = carry
    return _with_waiting(sums, waiting)


def _add(total: np.ndarray, other: np.ndarray, carry: np.ndarray) -> np.ndarray:
    """Full adder on every bit: `total` becomes the digit of the sum of the three; returns the carry."""
    either = total ^ other
    both = total & other
    np.bitwise_xor(either, carry, out=total)
    either &= carry
    both |= either
    return both


def _with_waiting(sums: list[np.ndarray], waiting: list[np.ndarray | None]) -> list[np.ndarray]:
    for place, left in enumerate(waiting):
        carry = left
        for higher in range(place, len(sums)):
            if carry is None:
                break
            carry, sums[higher] = sums[higher] & carry, sums[higher] ^ carry
    return sums


def _take(optima: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """The optimum with the largest mean margin at norm 1, then the lexicographically smallest; (5,), units of 0.05.

    Float64 narrows the field; what is nearly equal is compared as fractions: the sign of k.D times (k.D)^2 / |k|^2, D
    the sum of the differences. Python's max takes the first of equals, and the optima ascend.
    """
    directed = optima[optima.any(axis=1)]
    total = [sum(map(int, column)) for column in differences.T]
    if not any(total):
        return directed[0]
    as_floats = np.array(total, dtype=np.float64)
    margins = directed @ as_floats / np.linalg.norm(directed, axis=1)
    near = directed[margins >= margins.max() - _NEAR * np.linalg.norm(as_floats)].astype(np.int64).tolist()

    def signed_square(vector: list[int]) -> Fraction:
        margin = sum(level * value for level, value in zip(vector, total, strict=True))
        return Fraction(margin * abs(margin), sum(level * level for level in vector))

    return np.array(max(near, key=signed_square), dtype=np.float64)

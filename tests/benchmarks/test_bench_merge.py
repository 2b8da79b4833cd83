"""The merge search against brute-force NumPy on as many pairs as HelpSteer2-Preference validates with."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from models_train.reward_models.merge_vector import best_merge, optimal_vectors

pytestmark = pytest.mark.bench

N_PAIRS = 519
TIME_LIMIT_S, LEAST_RATIO = 0.4, 10.0
LEVELS = np.arange(21.0)


def attribute_rewards() -> tuple[np.ndarray, np.ndarray]:
    """Rewards of a reward model as it is trained: attributes from 0 to 4 that go together, two thirds ordered right."""
    generator = np.random.default_rng(0)
    covariance = 0.6 + 0.4 * np.eye(5)
    chosen, rejected = (generator.multivariate_normal(np.full(5, mean), covariance, N_PAIRS) for mean in (2.4, 2.0))
    return chosen.astype(np.float32), rejected.astype(np.float32)


def brute_force(differences: np.ndarray) -> tuple[int, np.ndarray]:
    """All vectors times all differences, in blocks that fit a core's cache; matrix products run on all cores."""
    last = np.array(list(product(LEVELS, -LEVELS[::-1])))
    first = np.array(list(product(LEVELS, LEVELS, LEVELS)))
    by_last = np.ascontiguousarray(differences[:, 3:].T)
    counts = np.empty((len(first), len(last)), dtype=np.int32)
    for row, begun in enumerate(first @ differences[:, :3].T):
        counts[row] = np.count_nonzero(last @ by_last + begun > 0, axis=1)
    rows, columns = np.nonzero(counts == counts.max())
    return int(counts.max()), np.hstack([first[rows], last[columns]])


def test_merge_search(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """At least 10 times as fast as brute force, in under 0.4 s on 2 cores, and the same set of optima."""
    chosen, rejected = attribute_rewards()
    differences = np.ldexp(chosen.astype(np.float64), 40) - np.ldexp(rejected.astype(np.float64), 40)
    choice = benchmark.pedantic(best_merge, args=(chosen, rejected), rounds=5, iterations=1, warmup_rounds=1)
    fast = benchmark.stats.stats.median
    began = time.perf_counter()
    n_won, optima = brute_force(differences)
    plain = time.perf_counter() - began
    benchmark.extra_info.update(brute_force_s=plain, ratio=plain / fast)
    with capsys.disabled():
        print(f"\nMerge search, {N_PAIRS} pairs, 4,084,101 vectors: {fast:.3f} s; brute-force NumPy {plain:.1f} s,")
        print(f"ratio {plain / fast:.0f}; {choice.n_won} pairs won by {choice.n_optima} vectors in both.")
    found_won, found = optimal_vectors(differences)
    assert (choice.n_won, choice.n_optima) == (n_won, len(optima)) and found_won == n_won
    assert np.array_equal(found, optima)
    assert fast < TIME_LIMIT_S
    assert plain / fast >= LEAST_RATIO

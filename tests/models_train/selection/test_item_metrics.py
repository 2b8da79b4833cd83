"""Metrics of items against their definitions by enumeration, with many equal rewards."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from models_train.selection.item_metrics import Items, is_scored, unit_values

F4: dict[str, tuple[int, list[float]]] = {
    "ref:0": (1, [2, 0.5, 0, -1]), "tied:0": (3, [3, 2.5, 2.75, 1, 0]),
    "ref:1": (1, [1, 1.5, 0, 0]), "tied:1": (2, [4, 1, 0.5, 0.25]),
    "ref:2": (1, [1, 0.9, 0, 0]), "tied:2": (2, [2, 2, 1, 0]),
}  # fmt: skip


def items(benchmark: str, n_correct: list[int], n: list[int], subset: str = "s", ids: list[str] | None = None) -> Items:
    """Items of n completions each, right ones first."""
    columns = np.arange(max(n))
    there = columns < np.array(n)[:, None]
    names = np.array(ids or [str(place) for place in range(len(n))], object)
    return Items(benchmark, np.full(len(n), subset, object), names, there, columns < np.array(n_correct)[:, None])


def ties(listed: dict[str, tuple[int, list[float]]]) -> tuple[Items, np.ndarray]:
    counts = [len(rewards) for _, rewards in listed.values()]
    rewards = np.array([[*one, *[np.nan] * (max(counts) - len(one))] for _, one in listed.values()], float)
    return items("rewardbench2", [n for n, _ in listed.values()], counts, "Ties", list(listed)), rewards


@pytest.fixture
def pool() -> tuple[Items, np.ndarray]:
    """40 items of one right and five wrong completions, rewards of 0 to 3."""
    rewards = np.random.default_rng(1).integers(4, size=(40, 6)).astype(float)
    return items("rewardmath", [1] * 40, [6] * 40), rewards


def picked(rewards: np.ndarray) -> float:
    """Chance that the first completion is picked where the highest share."""
    return float((rewards[0] == rewards.max()) / (rewards == rewards.max()).sum())


@pytest.mark.parametrize("n", [2, 4])
def test_best_of_n_is_the_mean_over_all_draws(pool: tuple[Items, np.ndarray], n: int) -> None:
    benchmark, rewards = pool
    for row, found in zip(rewards, unit_values(benchmark, rewards).metrics[f"best_of_{n}"], strict=True):
        draws = [picked(row[list(draw)]) if 0 in draw else 0.0 for draw in combinations(range(6), n)]
        assert found == pytest.approx(np.mean(draws), abs=1e-12)


def test_ranks_with_ties_in_random_order_are_the_mean_over_all_orders(pool: tuple[Items, np.ndarray]) -> None:
    benchmark, rewards = pool
    found = unit_values(benchmark, rewards).metrics
    for place, row in enumerate(rewards[:10]):
        orders = [sorted(order, key=lambda one: -row[one]) for order in permutations(range(6))]
        assert found["mrr_random_ties"][place] == pytest.approx(np.mean([1 / (1 + o.index(0)) for o in orders]))
        assert found["mrr"][place] == 1 / (1 + (row[1:] >= row[0]).sum())
        assert found["pairs_won"][place] == pytest.approx((row[0] > row[1:]).mean())
        assert (found["accuracy"][place], found["accuracy_with_ties"][place]) == (
            row[0] > row[1:].max(), row[0] >= row[1:].max(),
        )  # fmt: skip


def test_ties_have_the_values_of_the_specification() -> None:
    """F4: IDs alone 1.009640275800758, 0.2917679935441412, 1.01; zero spread is infinitely far apart."""
    found = unit_values(*ties(F4)).metrics["ties_score"]
    assert found == pytest.approx([1.009640275800758, 0.2917679935441412, 1.01], abs=1e-14)
    assert found.mean() == pytest.approx(0.7704694231149664, abs=1e-14)
    flat = {name: (n, [0.0] * len(rewards)) for name, (n, rewards) in F4.items()}
    assert unit_values(*ties(flat)).metrics["ties_score"].tolist() == [0.0] * 3


def test_an_id_counts_with_both_of_its_prompts() -> None:
    benchmark, rewards = ties({name: F4[name] for name in ("ref:0", "tied:0", "tied:1", "ref:2", "tied:2")})
    assert unit_values(benchmark, rewards).metrics["ties_score"].shape == (2,)
    rewards[0, 0] = np.nan
    found = unit_values(benchmark, rewards).metrics["ties_score"]
    assert np.isnan(found[0]) and found[1] == 1.01


@pytest.mark.parametrize(
    ("rewards", "credit"),
    [([1, 0, 0, 0], 1.0), ([1, 1, 0, 0], 0.5), ([1, 1, 1, 1], 0.25), ([0, 1, 0, 0], 0.0)],
)
def test_best_of_4_shares_among_equal_ones(rewards: list[float], credit: float) -> None:
    benchmark = items("rewardbench2", [1], [4], "Math")
    found = unit_values(benchmark, np.array([rewards], float))
    assert found.main_values.tolist() == [credit]
    # A second right completion wins nothing.
    second = unit_values(items("rewardbench2", [2], [4], "Math"), np.array([[0.0, 1, 0, 0]]))
    assert second.main_values.tolist() == [0.0]


def test_styles_are_compared_by_their_places() -> None:
    """Right (plain, detailed, markdown) 1, 2, 3; wrong 0, 2, 4: won are 1>0, 2>0, 3>0, 3>2."""
    benchmark = items("rm_bench", [3], [6])
    found = unit_values(benchmark, np.array([[1.0, 2, 3, 0, 2, 4]])).metrics
    assert {name: values[0] for name, values in found.items()} == pytest.approx(
        {"accuracy": 4 / 9, "easy": 1.0, "normal": 1 / 3, "hard": 0.0}
    )
    short = unit_values(items("rm_bench", [2], [5]), np.ones((1, 5)))
    assert np.isnan(short.main_values).all()


def test_an_item_without_a_reward_or_without_a_wrong_completion_does_not_count() -> None:
    benchmark = items("mine", [1, 1, 2, 0], [2, 2, 2, 2])
    rewards = np.array([[1.0, 0], [np.nan, 0], [1, 0], [1, 0]])
    assert is_scored(benchmark, rewards).tolist() == [True, False, False, False]
    infinite = np.array([[np.inf, 0], [1, -np.inf], [1, 0], [1, 0]])
    assert not is_scored(benchmark, infinite).any()

"""Optimism of choosing, on cases that can be worked by hand and on pure noise."""

from __future__ import annotations

import numpy as np
import pytest

from models_train.reward_models.merge_vector import best_merge
from models_train.reward_models.selection_bias import CheckpointRewards, measure_optimism


def scalar(step: int, *margins: float) -> CheckpointRewards:
    return CheckpointRewards(step, np.array(margins, dtype=np.float32), np.zeros(len(margins), dtype=np.float32))


def test_two_prompts_by_hand() -> None:
    """Each rate wins one prompt: a half takes the rate that wins it, which loses the other half."""
    found = measure_optimism({(1e-6, 0): [scalar(5, 1, -1)], (2e-6, 0): [scalar(5, -1, 1)]}, ["a", "b"])
    assert found is not None
    assert (found.accuracy_choosing_half, found.accuracy_other_half, found.points) == (1.0, 0.0, 100.0)
    assert found.n_splits == 200
    assert (found.accuracy_mean_rate, found.accuracy_best_rate) == (0.5, 0.5), "each rate alone wins every second half"


def test_without_a_choice_there_is_no_optimism() -> None:
    margins = np.random.default_rng(0).normal(size=40)
    found = measure_optimism({(1e-6, 0): [scalar(5, *margins)], (2e-6, 0): []}, [str(n) for n in range(40)])
    assert found is not None
    assert found.points == pytest.approx(0, abs=1e-12)
    assert found.accuracy_other_half == pytest.approx(np.mean(margins > 0))
    assert found.accuracy_mean_rate == pytest.approx(found.accuracy_other_half), "a rate that failed has no part in it"


def test_pairs_of_a_prompt_stay_together() -> None:
    """Pairs 0 and 2 share a prompt and every checkpoint that wins one loses the other: half accuracy everywhere."""
    runs = {(1e-6, 0): [scalar(5, 1, 1, -1, -1), scalar(10, -1, 1, 1, -1)]}
    found = measure_optimism(runs, ["a", "b", "a", "b"], n_splits=20)
    assert found is not None
    assert (found.accuracy_choosing_half, found.accuracy_other_half) == (0.5, 0.5)


def test_noise_flatters_and_the_other_half_tells() -> None:
    generator = np.random.default_rng(3)
    runs = {(rate, 0): [scalar(step, *generator.normal(size=400)) for step in range(10)] for rate in range(10)}
    found = measure_optimism(runs, [str(n) for n in range(400)], n_splits=50)
    assert found is not None
    assert found.accuracy_other_half == pytest.approx(0.5, abs=0.03)
    assert 4 < found.points < 13, "the best of 100 coins of 200 throws: about 2.5 standard errors of 3.5 points"


def test_the_mean_rate_and_the_best_are_measured_as_the_choice_is() -> None:
    """One rate wins 9 of 10 pairs, the other none: the first is chosen on every half, whatever its other checkpoint."""
    good = [1.0] * 9 + [-1.0]
    runs = {(1e-6, 0): [scalar(5, *good), scalar(10, *[-1.0] * 10)], (2e-6, 0): [scalar(5, *[-1.0] * 10)]}
    found = measure_optimism(runs, [str(n) for n in range(10)], n_splits=5)
    assert found is not None
    assert found.accuracy_other_half == found.accuracy_best_rate == pytest.approx(0.9)
    assert found.accuracy_mean_rate == pytest.approx(0.45)


def test_a_tie_is_not_won() -> None:
    found = measure_optimism({(1e-6, 0): [scalar(5, 0, 0)]}, ["a", "b"])
    assert found is not None and found.accuracy_choosing_half == 0.0


def test_ties_of_a_half_go_to_the_lower_loss_on_that_half() -> None:
    """Both rates win both pairs of the half; the one with the larger margins there is taken: it loses the other."""
    runs = {(1e-6, 0): [scalar(5, 1, 1)], (2e-6, 0): [scalar(5, 3, -1)], (3e-6, 0): [scalar(5, -1, 3)]}
    found = measure_optimism(runs, ["a", "b"])
    assert found is not None
    assert (found.accuracy_choosing_half, found.accuracy_other_half) == (1.0, 0.0)


def attributes(step: int, generator: np.random.Generator) -> CheckpointRewards:
    chosen, rejected = generator.normal(size=(2, 12, 5)).astype(np.float32)
    return CheckpointRewards(step, chosen, rejected, loss=0.5)


def test_the_merge_vector_is_chosen_again_on_each_half() -> None:
    generator = np.random.default_rng(0)
    one = attributes(5, generator)
    prompts = ["a"] * 6 + ["b"] * 6
    found = measure_optimism({(1e-6, 0): [one]}, prompts, n_splits=1)
    accuracies = []
    for half in (np.arange(12) < 6, np.arange(12) >= 6):
        choice = best_merge(one.chosen[half], one.rejected[half])
        differences = (one.chosen - one.rejected)[~half].astype(float)
        accuracies.append((choice.n_won / 6, float(np.mean(differences @ choice.weights > 0))))
    assert found is not None
    assert (found.accuracy_choosing_half, found.accuracy_other_half) == tuple(np.mean(accuracies, axis=0))


def test_threads_change_nothing() -> None:
    generator = np.random.default_rng(1)
    runs = {(1e-6, 0): [attributes(5, generator), attributes(10, generator)], (2e-6, 0): [attributes(5, generator)]}
    prompts = [str(n) for n in range(12)]
    one, two = (measure_optimism(runs, prompts, n_splits=2, n_threads=n) for n in (1, 2))
    assert one == two and one is not None and one.points > 0


def test_nothing_to_choose_or_to_split() -> None:
    assert measure_optimism({(1e-6, 0): []}, ["a", "b"]) is None
    assert measure_optimism({(1e-6, 0): [scalar(5, 1, -1)]}, ["a", "a"]) is None

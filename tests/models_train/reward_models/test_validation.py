"""Evaluation of a checkpoint against plain, padded Transformers models asked one sequence at a time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from models_train.reward_models.data import Example, TokenPair
from models_train.reward_models.merge_vector import best_merge
from models_train.reward_models.validation import (
    CheckpointRewards,
    TrainingFailed,
    Validation,
    checkpoint_rewards,
    measure_optimism,
)
from tests.support.tiny_models import SIZES, classifier_of, one_by_one
from tests.support.training_runs import pairs, ratings, reward_model

PAIRS = [*pairs(15, seed=3), TokenPair([5, 6, 7], [5, 6, 7])]
"""The last one is a tie."""


def plain_rewards(examples: list[Any], n_outputs: int) -> np.ndarray:
    """(n_sequences, n_outputs) by Transformers alone."""
    sequences = [list(ids) for example in examples for ids in example.sequences]
    with torch.no_grad():
        return one_by_one(classifier_of(LlamaConfig(**SIZES), n_outputs), sequences).numpy()


def evaluate(validation: Validation, objective: str) -> dict[str, Any]:
    """As a run keeps it: through JSON."""
    with torch.no_grad():
        return dict(json.loads(json.dumps(validation(reward_model(objective)))))


@pytest.mark.parametrize("tokens_per_pack", [50, 4096])
def test_bradley_terry(tokens_per_pack: int) -> None:
    found = evaluate(Validation(PAIRS, None, tokens_per_pack), "bradley_terry")
    plain = plain_rewards(PAIRS, 1)[:, 0].astype(np.float64)
    margins = plain[0::2] - plain[1::2]
    assert np.abs(margins[:-1]).min() > 1e-4, "no pair is close"
    assert (found["n_won"], found["n_ties"], found["n_pairs"]) == (int(np.sum(margins[:-1] > 0)), 1, 16)
    assert found["loss"] == pytest.approx(np.mean(np.log1p(np.exp(-margins))), abs=1e-5)
    kept = checkpoint_rewards(5, found)
    assert kept.step == 5 and kept.chosen.shape == (16,)
    assert np.allclose(kept.chosen - kept.rejected, margins, atol=1e-5)


def test_regression() -> None:
    rated = ratings(9, seed=4)
    found = evaluate(Validation(PAIRS, rated, 200), "regression")
    kept = checkpoint_rewards(5, found)
    plain = plain_rewards(PAIRS, 5)
    assert np.allclose(kept.chosen, plain[0::2], atol=1e-5) and np.allclose(kept.rejected, plain[1::2], atol=1e-5)
    choice = best_merge(kept.chosen, kept.rejected)
    assert found["weights"] == list(choice.weights)
    for name in ("n_won", "n_ties", "n_pairs", "n_optima", "mean_margin"):
        assert found[name] == getattr(choice, name)
    wanted = np.array([one.attributes for one in rated])
    assert found["loss"] == pytest.approx(np.mean((plain_rewards(rated, 5) - wanted) ** 2), abs=1e-5)


def test_without_validation_ratings_there_is_no_loss() -> None:
    assert evaluate(Validation(PAIRS, (), 200), "regression")["loss"] is None


def test_rewards_that_are_not_finite_end_the_run_in_words() -> None:
    model = reward_model()
    model.head.weight.data.fill_(float("nan"))
    few: list[Example] = list(PAIRS[:3])
    with torch.no_grad(), pytest.raises(TrainingFailed, match="6 of 6 validation responses get a reward that is NaN"):
        Validation(few, None, 200)(model)  # type: ignore[arg-type]


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

"""Evaluation of a checkpoint against plain, padded Transformers models asked one sequence at a time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from models_train.reward_models.merge_vector import best_merge
from models_train.reward_models.objectives import Example, TokenPair
from models_train.reward_models.search import ArmFailed
from models_train.reward_models.validation import Validation, checkpoint_rewards
from tests.support.padded_models import classifier_of, one_by_one
from tests.support.tiny_models import SIZES
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
    with torch.no_grad(), pytest.raises(ArmFailed, match="6 of 6 validation responses get a reward that is NaN"):
        Validation(few, None, 200)(model)  # type: ignore[arg-type]

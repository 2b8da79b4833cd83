"""Training on packs equals plain, padded training by Transformers and PyTorch: loss, gradients, weights, 20 steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from models_train.reward_models.data import DataOrder, Example, training_packs
from models_train.reward_models.model import example_losses, n_outputs
from tests.support.tiny_models import FAMILIES, SIZES, classifier_of
from tests.support.training_runs import (
    RATE,
    RECIPE,
    examples_of,
    plain_loss,
    plain_training,
    plan,
    reward_model,
    training_run,
    weights_of,
)

OBJECTIVES = ("bradley_terry", "regression")


@pytest.mark.parametrize("family", ["llama3", "qwen2", "gemma2", "phi3", "stablelm"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_and_gradients_of_a_global_batch(family: str, objective: Any) -> None:
    examples = examples_of(objective, 16)
    reference = classifier_of(FAMILIES[family](), n_outputs(objective))
    wanted = plain_loss(reference, examples)
    wanted.backward()

    model = reward_model(objective, FAMILIES[family]())
    loss = torch.zeros(())
    packs = training_packs(examples, 150)
    for one in packs:
        part = example_losses(model.rewards(one.pack), one.examples).sum() / len(examples)
        part.backward()
        loss += part.detach()

    assert len(packs) > 2
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    for name, weight in reference.named_parameters():
        gradient = model.classifier.get_parameter(name).grad
        assert gradient is not None and weight.grad is not None, name
        # The bias of a last LayerNorm moves both rewards of a pair alike: its gradient is zero.
        assert (gradient - weight.grad).norm() <= 1e-5 * weight.grad.norm(), name


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "gradient checkpointing"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_trajectory_of_20_steps(objective: Any, checkpointing: bool, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 4})
    examples = examples_of(objective)
    order = DataOrder(len(examples), recipe.global_batch, recipe.epochs, seed=5)
    batches: list[list[Example]] = [[examples[index] for index in order.batch(step)] for step in range(1, 21)]
    reference = classifier_of(LlamaConfig(**SIZES), n_outputs(objective))
    before = {name: weight.detach().clone() for name, weight in reference.named_parameters()}
    wanted = plain_training(reference, batches, recipe)

    run = training_run(tmp_path, objective, recipe=recipe, how=plan(gradient_checkpointing=checkpointing))
    run.advance(20)

    given = [[row["loss"], row["gradient_norm"]] for row in run.steps]
    assert torch.allclose(torch.tensor(given), torch.tensor(wanted), rtol=1e-5, atol=1e-5)
    assert wanted[-1][0] < wanted[0][0]
    weights = weights_of(run)
    for name, weight in reference.named_parameters():
        moved = (weight - before[name]).norm()
        assert moved > 0, name
        assert (weights[f"classifier.{name}"] - weight).norm() <= 1e-3 * moved, name


def test_weight_decay_is_for_matrices_only(tmp_path: Path) -> None:
    weights = {}
    for decay in (0.0, 0.1):
        run = training_run(tmp_path / str(decay), recipe=RECIPE.model_copy(update={"weight_decay": decay}))
        run.advance(1)
        weights[decay] = weights_of(run)
    before = dict(reward_model().module.named_parameters())
    rate = RATE / RECIPE.warmup_steps
    for name, weight in weights[0.1].items():
        shrunk = weights[0.0][name] - (0.1 * rate * before[name].detach() if weight.ndim > 1 else 0)
        assert torch.allclose(weight, shrunk, atol=1e-8), name

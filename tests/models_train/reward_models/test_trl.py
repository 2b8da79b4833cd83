"""TRL's RewardTrainer on the same pairs in the same order has the same losses."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaConfig

from models_train.reward_models.data import DataOrder
from tests.support.tiny_models import SIZES, classifier_of
from tests.support.training_runs import RATE, RECIPE, pairs, training_run
from tests.support.trl_runs import gradient_norms, losses, trl_trainer


def test_losses_equal_those_of_trl(tmp_path: Path) -> None:
    examples = pairs(10 * RECIPE.global_batch)
    run = training_run(tmp_path / "run", recipe=RECIPE.model_copy(update={"epochs": 1}), examples=examples)
    run.advance(10)

    order = DataOrder(len(examples), RECIPE.global_batch, 1, run.seed)
    ordered = [examples[index] for step in range(1, 11) for index in order.batch(step)]
    model = classifier_of(LlamaConfig(**SIZES), 1)
    trainer = trl_trainer(model, ordered, RECIPE, RATE, tmp_path / "trl", micro_batch=4)
    trainer.train()

    assert [row["loss"] for row in run.steps] == pytest.approx(losses(trainer), abs=1e-4)
    assert [row["gradient_norm"] for row in run.steps] == pytest.approx(gradient_norms(trainer), rel=1e-4)
    for name, weight in model.named_parameters():
        given = run._state.model.classifier.get_parameter(name) if run._state else weight
        assert (given - weight).abs().max() < 1e-4, name

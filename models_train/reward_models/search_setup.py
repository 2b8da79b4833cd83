"""What a search needs before its first step: data as the model reads them, a memory plan, one run per rate and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from models_train.data.chat import Renderer
from models_train.modeling.base_models import (
    BackboneError,
    ModelSource,
    context_length,
    load_config,
    load_tokenizer,
    model_source,
)
from models_train.reward_models.distributed import Processes
from models_train.reward_models.examples import SearchData, load_search_data
from models_train.reward_models.machine import machine_of
from models_train.reward_models.memory import MemoryPlan, plan_memory
from models_train.reward_models.model import RewardModel
from models_train.reward_models.model_shape import model_shape
from models_train.reward_models.objectives import n_outputs
from models_train.reward_models.search_records import run_name
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import Validation
from models_train.study.settings import Objective
from models_train.study.study import StudyModel
from models_train.study.training import Recipe, Training

OnStep = Callable[[str, Mapping[str, Any]], None]
"""Called with a run's name and the row of a step."""


@dataclass(frozen=True)
class SearchSetup:
    """A search about to begin, or to go on."""

    objective: Objective
    training: Training
    source: ModelSource
    tokenizer: PreTrainedTokenizerBase
    data: SearchData
    plan: MemoryPlan

    @property
    def recipe(self) -> Recipe:
        """Of the objective."""
        return self.training.recipe(self.objective)

    def runs(self, folder: Path, on_step: OnStep) -> list[TrainingRun]:
        """One run per rate and seed, in folders below `folder`. Raises RunFolderError."""
        ratings = self.data.validation_ratings
        validation = Validation(
            self.data.validation.examples, None if ratings is None else ratings.examples, self.plan.tokens_per_pack
        )
        return [
            self._run(folder, rate, seed, validation, on_step)
            for rate in self.recipe.learning_rates
            for seed in self.training.search.seeds
        ]

    def _run(self, folder: Path, rate: float, seed: int, validation: Validation, on_step: OnStep) -> TrainingRun:
        name = run_name(rate, seed)
        return TrainingRun(
            lambda: RewardModel.from_base(self.source, n_outputs(self.objective), seed, torch.float32),
            self.data.train.examples,
            self.recipe,
            objective=self.objective,
            learning_rate=rate,
            seed=seed,
            folder=folder / name,
            plan=self.plan,
            evaluate=validation,
            on_step=lambda row: on_step(name, row),
        )


def set_up(
    model: StudyModel, training: Training, objective: Objective, study_folder: Path, processes: Processes
) -> SearchSetup:
    """Load tokenizer and data, and plan the memory.

    Raises LocationError, BackboneError, RenderError, UserError, ModelShapeError, MemoryPlanError: in words.
    """
    source = model_source(model, study_folder)
    config, tokenizer = load_config(source), load_tokenizer(source)
    recipe = training.recipe(objective)
    renderer = Renderer(tokenizer, recipe.max_tokens, recipe.over_long, context_length(config))
    data = load_search_data(training, objective, study_folder, renderer)
    _refuse_unknown_tokens(source, data, int(config.get_text_config().vocab_size))
    dtype = torch.bfloat16 if training.precision == "bfloat16" else torch.float32
    machine = machine_of(processes)
    plan = plan_memory(
        model_shape(config, n_outputs(objective), dtype),
        precision=training.precision,
        device_bytes=machine.device_bytes,
        host_bytes=machine.host_bytes,
        longest_example=data.longest_example,
        longest_sequence=data.longest_sequence,
        tokens_per_pack=training.tokens_per_pack,
        device_type=machine.device_type,
    )
    return SearchSetup(objective, training, source, tokenizer, data, plan)


def _refuse_unknown_tokens(source: ModelSource, data: SearchData, n_rows: int) -> None:
    """A GPU does not survive an id outside of the embedding."""
    largest = data.largest_token
    if largest >= n_rows:
        raise BackboneError(
            f"{source.name}: its tokenizer gives token {largest}, but the model's vocabulary has {n_rows} rows; "
            "tokenizer and weights do not belong together"
        )

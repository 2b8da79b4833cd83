"""Settings of training: data, recipe of each objective, learning-rate search (paper, Section 3.1). Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import (
    MOST,
    Count,
    CountOrZero,
    Distinct,
    Name,
    NotNegative,
    Objective,
    Positive,
    Rate,
    Revision,
    Seed,
    Settings,
    Text,
)

Precision = Literal["bfloat16", "float32"]
MaxTokens = Annotated[int, Field(ge=8, le=MOST)]
Beta = Annotated[float, Field(ge=0, lt=1)]
"""A decay rate of AdamW's moments."""
BRADLEY_TERRY_RATES = (5e-7, 6e-7, 7e-7, 8e-7, 9e-7, 1e-6, 2e-6, 3e-6, 4e-6, 5e-6)
REGRESSION_RATES = (1e-7, 3e-7, 5e-7, 7e-7, 9e-7, 1e-6, 3e-6, 5e-6, 7e-6, 9e-6)
"""The paper's learning rates by objective."""
RATE_TOLERANCE = 1e-12


class OnePlace(Settings):
    """What is in a repository of a hub, or on this machine: either `hub_id` or `path`."""

    hub_id: Name | None = None
    """Repository on the hub."""
    revision: Revision | None = None
    """Commit, branch or tag of the repository; without it, the newest commit."""
    path: Text | None = None
    """Local file or folder."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.hub_id is None) == (self.path is None):
            raise PydanticCustomError("one_place", "needs either hub_id or path, one of them")
        return self

    @property
    def is_local(self) -> bool:
        """True for a file or folder."""
        return self.path is not None

    def at_commit(self, commit: str) -> Self:
        """The same at the commit of its revision."""
        return self.model_copy(update={"revision": commit})


class DataSource(OnePlace):
    """A data set: either `hub_id` or `path`."""

    hub_id: Name | None = None
    """Data set on the hub."""
    revision: Revision | None = None
    """Commit of the hub's data set, or a branch, tag or abbreviated commit, which is resolved to its commit once;
    without it, the newest commit at the first job that reads the data set, which is kept, too."""
    path: Text | None = None
    """Local file or folder, linked folders included: JSONL (also .gz, .zst) or Parquet of the hub's columns. A relative
    path begins at the folder of the study file; `~` and variables such as `$REWARDBASE_HOME` are filled in."""

    @model_validator(mode="after")
    def _revision_of_hub(self) -> Self:
        if self.path is not None and self.revision is not None:
            raise PydanticCustomError("data_source", "has a revision, which goes with hub_id only; remove it")
        return self


class Recipe(Settings):
    """Training of one reward model: AdamW, linear warm-up, then a constant learning rate."""

    learning_rates: Annotated[tuple[Rate, ...], Field(strict=False, min_length=1), Distinct]
    """Learning rates that the search chooses from."""
    epochs: Count = 1
    """Passes over the training data."""
    global_batch: Count = 64
    """Examples (pairs or rated responses) per step, over all devices."""
    warmup_steps: CountOrZero = 20
    """Steps of linear warm-up."""
    checkpoint_every: Count = 20
    """Steps between two checkpoints."""
    max_tokens: MaxTokens = 4096
    """Most tokens of an example, prompt and response together."""
    over_long: Literal["drop", "left_truncate"] = "left_truncate"
    """Longer examples: drop them, or cut the oldest tokens of their prompts (left_truncate); both are counted."""
    weight_decay: NotNegative = 0.0
    """Weight decay of AdamW."""
    max_gradient_norm: Positive | None = 1.0
    """Largest norm of the gradient; null leaves gradients unclipped."""
    adam_betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Decay rates of AdamW's first and second moments."""
    adam_epsilon: Rate = 1e-8
    """Epsilon of AdamW."""


class RateSearch(Settings):
    """Search of the learning rate.

    With successive halving, every rung is an exact prefix of the full run, since the rate is constant. A run that
    collapses late looks good in every prefix: where some of the rates may be far too high, use `exhaustive`.
    """

    method: Literal["exhaustive", "successive_halving"] = "exhaustive"
    """`exhaustive` trains every rate to the end, as the paper does; `successive_halving` trains all rates to the first
    rung, keeps some of them for the next rung, and so on."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1), Distinct] = (0,)
    """Seeds; every rate is trained once with each."""
    rungs: Annotated[tuple[Rate, ...], Field(strict=False, min_length=1)] = (0.1, 0.4, 1.0)
    """Shares of the whole run at which runs are compared: ascending, the last is 1."""
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Share of the runs that go on after a rung."""
    budget: Annotated[float, Field(gt=0, le=1)] = 0.35
    """Largest share of the steps of an exhaustive search; fewer runs are kept where more would be needed."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.rungs) != sorted(set(self.rungs)) or abs(self.rungs[-1] - 1) > RATE_TOLERANCE:
            raise PydanticCustomError("rungs", "must have rungs that ascend and end with 1, such as [0.1, 0.4, 1]")
        return self


class Training(Settings):
    """Training and test of the study's reward models."""

    preferences: DataSource
    """Preference pairs, with the columns of HelpSteer2-Preference, HelpSteer3 or UltraFeedback, or `chosen` and
    `rejected` with or without `prompt` (TRL, Skywork, HH-RLHF). Their validation prompts select the checkpoints of both
    objectives."""
    ratings: DataSource | None = None
    """Rated responses, with the columns of HelpSteer2; needed for the objective regression."""
    test_set: DataSource | None = None
    """Test pairs, with the columns of RewardBench. May be left out where the study has `benchmark_sets`."""
    objectives: Annotated[tuple[Objective, ...], Field(strict=False, min_length=1), Distinct] = (
        "bradley_terry",
        "regression",
    )
    """Objectives: one reward model per base model and objective."""
    bradley_terry: Recipe = Recipe(learning_rates=BRADLEY_TERRY_RATES)
    """Recipe of the Bradley-Terry reward models; the default is the paper's."""
    regression: Recipe = Recipe(learning_rates=REGRESSION_RATES, epochs=2)
    """Recipe of the regression reward models; the default is the paper's."""
    search: RateSearch = RateSearch()
    """Search of the learning rate; the default is the paper's."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False), Distinct] = ()
    """Seeds of the reward models of a base model and objective. Each one that the search does not use gives a further
    reward model, trained at the rate that the search chose; by default there is none."""
    seeds_of: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct] | None = None
    """model_id of the base models that `seeds` gives further reward models; without it, all compared ones."""
    precision: Precision = "bfloat16"
    """Number format of the forward and backward pass."""
    thoughts: Literal["keep", "cut"] = "keep"
    """Thoughts at the beginning of responses, `<think>...</think>`: keep them, as the model's chat template writes
    them, or cut them, so that the answer alone is trained on and scored; responses with thoughts are counted."""
    tokens_per_pack: Count | None = None
    """Most tokens that pass through the model at once; without it, the memory plan chooses."""

    @model_validator(mode="after")
    def _ratings_for_regression(self) -> Self:
        if "regression" in self.objectives and self.ratings is None:
            raise PydanticCustomError("ratings", "lists the objective regression, which needs ratings; add them")
        return self

    def recipe(self, objective: Objective) -> Recipe:
        """The recipe of an objective."""
        return self.bradley_terry if objective == "bradley_terry" else self.regression

    def further_seeds(self, model_id: str) -> tuple[int, ...]:
        """Seeds of the reward models of a base model beyond the search's."""
        if self.seeds_of is not None and model_id not in self.seeds_of:
            return ()
        return tuple(seed for seed in self.seeds if seed not in self.search.seeds)

    def at_rate(self, objective: Objective, rate: float, seed: int) -> Self:
        """The training of one further reward model: a rate and a seed instead of a search."""
        recipe = self.recipe(objective).model_copy(update={"learning_rates": (rate,)})
        return self.model_copy(update={objective: recipe, "search": RateSearch(seeds=(seed,))})


def variant(objective: str, seed: int | None = None) -> str:
    """Objective, and seed of a further reward model, such as `regression/s1`."""
    return objective if seed is None else f"{objective}/s{seed}"


def trained_reward_id(model_id: str, objective: str, seed: int | None = None) -> str:
    """Name of the reward model of a base model and objective, such as `gemma-2-2b-it/regression`; with a further seed
    `gemma-2-2b-it/regression/s1`."""
    return f"{model_id}/{variant(objective, seed)}"


def variants(training: Training, model_id: str) -> list[tuple[Objective, int | None]]:
    """Objective and further seed of the reward models of a base model; the seed is None for the search's."""
    seeds = (None, *training.further_seeds(model_id))
    return [(objective, seed) for objective in training.objectives for seed in seeds]

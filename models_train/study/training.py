"""Settings of training: data, recipe of each objective, learning-rate search (paper, Section 3.1). Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.preference_data import DataVariant, NoiseEstimate
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


def recipe_settings(recipe: Recipe) -> dict[str, Any]:
    """What a training run depends on beside its data and learning rate, for JSON."""
    elsewhere = {"learning_rates", "critiques", "true_critiques", "models"}
    return recipe.model_dump(mode="json", exclude=elsewhere)


Control = Literal["others", "true"]
"""What a critique reward model is compared with: one trained and scored with critiques of other responses (a placebo),
or with true critiques (the most that critiques can do)."""


class CritiqueTuning(Settings):
    """Supervised fine-tuning on critiques, by which a base model learns to write them: one learning rate."""

    learning_rate: Rate = 5e-6
    """Learning rate, constant after the warm-up of the recipe."""
    epochs: Count = 1
    """Passes over the critiques."""
    global_batch: Count = 64
    """Critiques per step, over all devices."""


class CritiqueRecipe(Recipe):
    """Training of a critique reward model: it writes a critique of a response, and reads the reward after it.

    Three steps: fine-tuning on critiques that are given; critiques of the training and validation pairs by the model
    that this makes; training on pairs with these critiques, by Bradley-Terry plus cross-entropy.
    """

    source: Literal["template", "file", "self"] = "template"
    """Critiques of the fine-tuning. `template`: made from the rated attributes of `ratings`. `file`: `critiques`.
    `self`: none, the base model writes critiques as it is, which an instruct model can."""
    critiques: DataSource | None = None
    """Critiques of responses, with the columns `prompt`, `response`, `critique`; for the source file."""
    true_critiques: DataSource | None = None
    """The same of all responses of preferences and benchmarks, known to be true: a further reward model is trained and
    scored with them, the most that critiques can do."""
    models: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct] | None = None
    """model_id of the base models that get a critique reward model; without it, all compared ones."""
    weight: NotNegative = 1.25
    """Weight of the cross-entropy of the critiques' tokens, beside the Bradley-Terry loss."""
    filter: bool = True
    """Leave out pairs whose own critiques contradict the label: the scores that they end with (`Score: 12.`) put the
    rejected response first, or on a par. False keeps all pairs with two whole critiques."""
    tries: Count = 1
    """Critiques that are written of each response of the pairs: one greedily, more by sampling at temperature 1. With
    `filter`, the first two that agree with the label are taken."""
    samples: Annotated[tuple[Count, ...], Field(strict=False, min_length=1), Distinct] = (1, 4, 16)
    """Numbers of critiques per response to compare; the largest is written of each completion of a benchmark. Greedily
    where it is 1, else by sampling at temperature 1."""
    response_samples: CountOrZero = 4
    """Critiques of each response of a policy, written as those of benchmarks are; 0: responses get no rewards."""
    request: Text = "Judge this answer. End with a score from 0 to 16, as in `Score: 12.`"
    """What the user asks after the response, and the critique answers."""
    critique_tokens: MaxTokens = 256
    """Most tokens of a critique; a longer one is cut, and gives no reward."""
    tuning: CritiqueTuning = CritiqueTuning()
    """Fine-tuning on critiques."""

    @model_validator(mode="after")
    def _source_of_critiques(self) -> Self:
        if (self.source == "file") != (self.critiques is not None):
            raise PydanticCustomError("critiques", "needs critiques for the source file, and only for it")
        return self

    @property
    def controls(self) -> tuple[Control, ...]:
        """Further reward models that it is compared with."""
        return ("others",) if self.true_critiques is None else ("others", "true")

    @property
    def tuning_recipe(self) -> Recipe:
        """The recipe of the fine-tuning: as the pairs', at its own rate."""
        own = self.model_dump(include=set(Recipe.model_fields)) | self.tuning.model_dump(exclude={"learning_rate"})
        return Recipe(**own | {"learning_rates": (self.tuning.learning_rate,)})


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
    critique: CritiqueRecipe | None = None
    """Recipe of the critique reward models; for the objective critique."""
    search: RateSearch = RateSearch()
    """Search of the learning rate; the default is the paper's."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False), Distinct] = ()
    """Seeds of the reward models of a base model and objective. Each one that the search does not use gives a further
    reward model, trained at the rate that the search chose; by default there is none."""
    seeds_of: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct] | None = None
    """model_id of the base models that `seeds` gives further reward models; without it, all compared ones."""
    variants: Annotated[tuple[DataVariant, ...], Field(strict=False)] = ()
    """Variants of the preferences, such as cleaned ones, each with further reward models of some base models."""
    noise: NoiseEstimate | None = None
    """Estimate of the share of wrong labels in the preferences and in their variants; left out where there is none."""
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

    @model_validator(mode="after")
    def _critique_settings(self) -> Self:
        if ("critique" in self.objectives) != (self.critique is not None):
            text = "needs both the objective critique and the group critique, or neither; add the other one"
            raise PydanticCustomError("critique", text)
        if self.critique is not None and self.critique.source == "template" and self.ratings is None:
            raise PydanticCustomError("ratings", "makes critiques from ratings; add them, or state critique.source")
        return self

    @model_validator(mode="after")
    def _variants_in_order(self) -> Self:
        before: dict[str, DataVariant] = {}
        for one in self.variants:
            if problem := self._problem_of(one, before):
                raise PydanticCustomError("variants", "has the variant {name}, {text}", {"name": one.data_id} | problem)
            before[one.data_id] = one
        return self

    def _problem_of(self, one: DataVariant, before: Mapping[str, DataVariant]) -> dict[str, str]:
        """What is wrong with a variant, as `text`. before: the variants that are listed before it."""
        text = ""
        if one.data_id in before or one.data_id == reference_data_id(self):
            text = "whose data_id is also that of other data; give it another"
        elif one.of is not None and one.of not in before:
            text = f"which begins from {one.of}; list that variant before it"
        elif one.rule is not None and self.noise is None:
            text = "whose rule needs an estimate of the noise; add the group `noise`"
        elif one.rule is not None and one.of is not None and before[one.of].rule is not None:
            text = f"whose rule begins from {one.of}, which is made by a rule; begin from data without one"
        elif "critique" in one.objectives:
            text = "for the objective critique, which is not trained on variants; remove it"
        elif missing := [name for name in one.objectives if name not in self.objectives]:
            text = f"for the objective {missing[0]}, which `objectives` does not list; list it there, or remove it here"
        return {"text": text} if text else {}

    def variant_of(self, data_id: str) -> DataVariant:
        """A variant by name. Raises KeyError for one that is not listed."""
        return {one.data_id: one for one in self.variants}[data_id]

    def recipe(self, objective: Objective) -> Recipe:
        """The recipe of an objective."""
        if objective == "critique":
            return self.critique_recipe
        return self.bradley_terry if objective == "bradley_terry" else self.regression

    @property
    def critique_recipe(self) -> CritiqueRecipe:
        """The recipe of critique reward models. Raises ValueError for a study without any."""
        if self.critique is None:
            raise ValueError("the study trains no critique reward models; list the objective critique")
        return self.critique

    def objectives_of(self, model_id: str) -> tuple[Objective, ...]:
        """Objectives that a base model has a reward model by: critique only where it is listed."""
        listed = self.critique.models if self.critique else None
        is_left_out = listed is not None and model_id not in listed
        return tuple(one for one in self.objectives if one != "critique" or not is_left_out)

    def further_seeds(self, model_id: str, objective: Objective | None = None) -> tuple[int, ...]:
        """Seeds of the reward models of a base model beyond the search's. objective: critique has none; None: any."""
        if objective == "critique":
            return ()
        if self.seeds_of is not None and model_id not in self.seeds_of:
            return ()
        return tuple(seed for seed in self.seeds if seed not in self.search.seeds)

    def further(self, model_id: str, objective: Objective) -> tuple[Further, ...]:
        """What the further reward models of a base model and objective are trained with: seeds, and variants."""
        of_data = (one for one in self.variants if model_id in one.models and objective in one.objectives)
        return (*self.further_seeds(model_id, objective), *(one.data_id for one in of_data))

    def at_rate(self, objective: Objective, rate: float, seed: int) -> Self:
        """The training of one further reward model: a rate and a seed instead of a search."""
        recipe = self.recipe(objective).model_copy(update={"learning_rates": (rate,)})
        return self.model_copy(update={objective: recipe, "search": RateSearch(seeds=(seed,))})


Further = int | str
"""What a further reward model is trained with: a seed, or the data_id of a variant of the preferences."""


def reference_data_id(training: Training) -> str:
    """Name of the preferences themselves: of the data set on the hub, or of the file."""
    return training.preferences.hub_id or PurePath(training.preferences.path or "").name


def variant(objective: str, further: Further | None = None) -> str:
    """Objective, and seed or data of a further reward model, such as `regression/s1` or `bradley_terry/clean`."""
    if further is None:
        return objective
    return f"{objective}/s{further}" if isinstance(further, int) else f"{objective}/{further}"


def trained_reward_id(model_id: str, objective: str, further: Further | None = None) -> str:
    """Name of the reward model of a base model and objective, such as `gemma-2-2b-it/regression`; with a further seed
    `gemma-2-2b-it/regression/s1`, on a variant of the preferences `gemma-2-2b-it/bradley_terry/clean`."""
    return f"{model_id}/{variant(objective, further)}"


def variants(training: Training, model_id: str) -> list[tuple[Objective, Further | None]]:
    """Objective and seed or data of the reward models of a base model; None for the search's."""
    return [
        (objective, further)
        for objective in training.objectives_of(model_id)
        for further in (None, *training.further(model_id, objective))
    ]

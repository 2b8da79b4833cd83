"""How reward models are trained: data, recipe of each objective, rate search (paper, Section 3.1). Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import Commit, Count, Distinct, Name, NotNegative, Objective, Positive, Settings, Text

Precision = Literal["bfloat16", "float32"]
Beta = Annotated[float, Field(ge=0, lt=1)]
BRADLEY_TERRY_RATES = (5e-7, 6e-7, 7e-7, 8e-7, 9e-7, 1e-6, 2e-6, 3e-6, 4e-6, 5e-6)
REGRESSION_RATES = (1e-7, 3e-7, 5e-7, 7e-7, 9e-7, 1e-6, 3e-6, 5e-6, 7e-6, 9e-6)
RATE_TOLERANCE = 1e-12


class DataSource(Settings):
    """A data set: `hub_id` (with an optional `revision`), or `path`, a local file or folder; one of them.

    Local files are JSONL (also .gz, .zst) or Parquet of the hub's columns. A relative path begins at the folder of the
    study file; `~` and variables such as `$REWARDBASE_HOME` are filled in.
    """

    hub_id: Name | None = None
    revision: Commit | None = None
    path: Text | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.hub_id is None) == (self.path is None):
            raise PydanticCustomError("data_source", "needs either hub_id or path, one of them")
        if self.path is not None and self.revision is not None:
            raise PydanticCustomError("data_source", "has a revision, which goes with hub_id only; remove it")
        return self


class Recipe(Settings):
    """How one reward model is trained: AdamW, `warmup_steps` of linear warm-up, then a constant rate.

    `global_batch` counts examples (pairs or rated responses). `max_tokens` limits prompt and response together, as
    rendered; what is longer is dropped, or loses the oldest tokens of its prompt (`left_truncate`), and is counted.
    """

    learning_rates: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1), Distinct]
    epochs: Count = 1
    global_batch: Count = 64
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    checkpoint_every: Count = 20
    max_tokens: Annotated[int, Field(ge=8)] = 4096
    over_long: Literal["drop", "left_truncate"] = "left_truncate"
    weight_decay: NotNegative = 0.0
    max_gradient_norm: Positive | None = 1.0
    adam_betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    adam_epsilon: Positive = 1e-8


class RateSearch(Settings):
    """Which runs are made to choose the learning rate.

    `exhaustive` trains every rate to the end, as the paper does. `successive_halving` trains all rates to the first
    rung, keeps the share `keep` of them, and so on; at a constant rate every rung is an exact prefix of the full run.
    Fewer are kept where it would take more than the share `budget` of the grid's steps. What collapses late looks good
    in every prefix: where some of the rates may be far too high, take `exhaustive`.
    `rungs`: shares of the whole run at which is chosen, ascending, the last is 1.
    """

    method: Literal["exhaustive", "successive_halving"] = "exhaustive"
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1), Distinct] = (0,)
    rungs: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)] = (0.1, 0.4, 1.0)
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.4
    budget: Annotated[float, Field(gt=0, le=1)] = 0.35

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.rungs) != sorted(set(self.rungs)) or abs(self.rungs[-1] - 1) > RATE_TOLERANCE:
            raise PydanticCustomError("rungs", "must have rungs that ascend and end with 1, such as [0.1, 0.4, 1]")
        return self


class Training(Settings):
    """Reward models of a study: what they learn from, how, and what they are tested on.

    `preferences` has HelpSteer2-Preference's columns, `ratings` HelpSteer2's, `test_set` RewardBench's. Both
    objectives are validated on the preferences' validation prompts. `tokens_per_pack` is the most tokens that go
    through the model at once; None lets the memory plan choose.
    """

    preferences: DataSource
    ratings: DataSource | None = None
    test_set: DataSource
    objectives: Annotated[tuple[Objective, ...], Field(strict=False, min_length=1), Distinct] = (
        "bradley_terry",
        "regression",
    )
    bradley_terry: Recipe = Recipe(learning_rates=BRADLEY_TERRY_RATES)
    regression: Recipe = Recipe(learning_rates=REGRESSION_RATES, epochs=2)
    search: RateSearch = RateSearch()
    precision: Precision = "bfloat16"
    tokens_per_pack: Count | None = None

    @model_validator(mode="after")
    def _ratings_for_regression(self) -> Self:
        if "regression" in self.objectives and self.ratings is None:
            raise PydanticCustomError("ratings", "lists the objective regression, which needs ratings; add them")
        return self

    def recipe(self, objective: Objective) -> Recipe:
        """The recipe of an objective."""
        return self.bradley_terry if objective == "bradley_terry" else self.regression

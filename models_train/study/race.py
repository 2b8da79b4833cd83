"""Settings of a race: base models are trained further and further, those that cannot win are dropped. Torch-free."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import (
    MOST,
    Distinct,
    Name,
    NotNegative,
    Objective,
    Rate,
    Seed,
    Settings,
    Text,
)

Unit = Literal["hours", "tokens"]
_BUDGET = re.compile(r"(\d+(?:\.\d+)?|\.\d+) ?(h|hours?|[kMBT]?(?: ?tokens?)?)", re.ASCII)
_THOUSANDS = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
MOST_RATES = 3
"""Learning rates per base model at the first rung, where the settings name none."""
DOUBLING = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Shares of the training data at which base models are compared, where the settings name none."""
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class Budget:
    """Most that a race may cost: device hours, or tokens of training."""

    amount: float
    unit: Unit


def budget_of(text: str) -> Budget:
    """A budget as people write it: 20h, or 40M tokens. Raises PydanticCustomError for another text."""
    found = _BUDGET.fullmatch(text)
    if found is None:
        raise PydanticCustomError("budget", "is no budget; give device hours, such as 20h, or tokens, such as 40M")
    amount, unit = float(found[1]), found[2].removesuffix("s").removesuffix("token").strip()
    is_hours = unit in ("h", "hour")
    amount = amount if is_hours else amount * _THOUSANDS[unit]
    if not 0 < amount <= MOST:
        raise PydanticCustomError("budget", "allows no race; give more than 0, and at most 1T tokens")
    return Budget(amount, "hours" if is_hours else "tokens")


def _is_budget(text: str) -> str:
    budget_of(text)
    return text


def _two_or_more(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 2:
        raise PydanticCustomError("race", "names fewer than two base models; list all that race, or remove the key")
    return names


BudgetText = Annotated[
    Text, AfterValidator(_is_budget), WithJsonSchema({"type": "string", "pattern": f"^({_BUDGET.pattern})$"})
]
Share = Annotated[float, Field(gt=0, le=1)]


class Race(Settings):
    """A race of base models: which one is the best to train a reward model on, for less than training all of them.

    All candidates are trained on a few examples with two or three learning rates, then on twice as many, and so on; one
    that another is ahead of is dropped. As the rate is constant, each rung goes on where the one before it ended.
    """

    candidates: Annotated[tuple[Name, ...], Field(strict=False), Distinct, AfterValidator(_two_or_more)] | None = None
    """model_id of the base models; by default all of the study, those of its hub query and its candidates included."""
    objective: Objective | None = None
    """Objective of the reward models; by default the first of `training.objectives`."""
    decides: Name | None = None
    """Benchmark whose items decide: a name under `benchmark_sets`, such as that of your own pairs, or rewardbench for
    the test set of `training`. By default `answer_on`, else the test set, else the first of `benchmark_sets`."""
    budget: BudgetText | None = None
    """Most that the race may cost: device hours, such as 20h, or tokens of training, such as 40M. Without it, the race
    goes on until one is left or the rest cannot be told apart."""
    indifference: NotNegative = 0.5
    """Difference that does not matter, in points of accuracy: of base models that lie so close any will do."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Probability with which no base model is dropped that is the best by more than the indifference."""
    rungs: Annotated[tuple[Share, ...], Field(strict=False, min_length=1)] = DOUBLING
    """Shares of the training data at which base models are compared: ascending, the last is 1."""
    rates: Annotated[tuple[Rate, ...], Field(strict=False, min_length=1), Distinct] | None = None
    """Learning rates at the first rung; by default the lowest, the middle and the highest of the recipe."""
    seed: Seed = 0
    """Seed of the heads and of the order of the data."""
    census: bool = False
    """When the race has ended, train every candidate to the end at each of these rates, so that the regret of the race
    and of other ways to choose is known. It costs as much as if there were no race, and is counted apart."""
    train_all: bool = False
    """Train the reward models of all base models, too, as without a race; by default the race takes their place."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.rungs) != sorted(set(self.rungs)) or abs(self.rungs[-1] - 1) > _TOLERANCE:
            raise PydanticCustomError("rungs", "must have rungs that ascend and end with 1, such as [0.1, 0.4, 1]")
        return self

    def asked(self, settings: dict[str, Any]) -> Self:
        """The settings with some in place of the study file's. Raises ValidationError."""
        return type(self).model_validate({**self.model_dump(exclude_unset=True), **settings})


def first_rates(rates: tuple[float, ...]) -> tuple[float, ...]:
    """At most MOST_RATES of a recipe's learning rates: the lowest, the one in the middle, the highest."""
    ordered = sorted(rates)
    if len(ordered) <= MOST_RATES:
        return tuple(ordered)
    middle = (ordered[0] * ordered[-1]) ** 0.5
    return ordered[0], min(ordered[1:-1], key=lambda rate: abs(rate / middle - 1)), ordered[-1]

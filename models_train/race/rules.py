"""Input and output of a race: candidates, rules, looks, work, decisions, answer (definitions, Section 15)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models_train.errors import UserError

Floats = NDArray[np.float64]
Kind = Literal["keep", "wait", "drop", "drop_rate", "join", "end"]
Reason = Literal["one_left", "decided", "not_told_apart", "budget", "none_left"]
Unit = Literal["tokens", "device_seconds"]
SCORED = 1 / 3
"""Cost of a token that is scored, in tokens that are trained on: a backward pass takes two forward passes."""


@dataclass(frozen=True)
class Candidate:
    """A base model in a race.

    params_b: billions of parameters. prior_mean, prior_sd: forecast of its accuracy at the full data with its standard
    deviation, in points; None for a flat prior. benchmark: mean of the public benchmarks of the base, in any unit that
    the candidates share. serving_cost: in any unit; by default params_b.
    """

    model_id: str
    params_b: float
    prior_mean: float | None = None
    prior_sd: float | None = None
    benchmark: float | None = None
    serving_cost: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.params_b) and self.params_b > 0):
            raise UserError(f"{self.model_id}: params_b is {self.params_b}; give billions of parameters, above 0")
        if (self.prior_mean is None) != (self.prior_sd is None):
            raise UserError(f"{self.model_id}: a prior has a mean and a standard deviation; give both or none")
        if self.prior_sd is not None and not (math.isfinite(self.prior_sd) and self.prior_sd > 0):
            raise UserError(f"{self.model_id}: prior_sd is {self.prior_sd}; give points above 0")
        others = {"prior_mean": self.prior_mean, "benchmark": self.benchmark, "serving_cost": self.serving_cost}
        for name, value in others.items():
            if value is not None and not math.isfinite(value):
                raise UserError(f"{self.model_id}: {name} is {value}; give a finite number, or leave it out")

    @property
    def cost(self) -> float:
        """Cost to serve."""
        return self.params_b if self.serving_cost is None else self.serving_cost


@dataclass(frozen=True)
class RaceRules:
    """Rules of a race.

    rungs: training examples at which candidates are looked at, ascending; the last is the full data. rates: learning
    rates that every candidate begins with. n_items: items scored at each rung, not descending: always the first ones of
    one random order; the last is all items of the benchmark. indifference: points. confidence: of never dropping the
    best by mistake, and of an early end. budget: of the whole race, in `unit`; tokens are training tokens, scored ones
    counting SCORED; None for no limit. draws, seed: of the posterior.
    """

    rungs: tuple[int, ...]
    rates: tuple[float, ...]
    n_items: tuple[int, ...]
    objective: str = "bradley_terry"
    indifference: float = 0.5
    confidence: float = 0.95
    budget: float | None = None
    unit: Unit = "tokens"
    draws: int = 4000
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse(
            not self.rungs or self.rungs[0] < 1 or not _ascends(self.rungs), "rungs", self.rungs, "ascend from 1 on"
        )
        _refuse(
            not self.rates or len(set(self.rates)) < len(self.rates), "rates", self.rates, "be different, one or more"
        )
        _refuse(not all(math.isfinite(rate) and rate > 0 for rate in self.rates), "rates", self.rates, "be above 0")
        wrong = (
            len(self.n_items) != len(self.rungs) or self.n_items[0] < 2 or list(self.n_items) != sorted(self.n_items)
        )
        _refuse(wrong, "n_items", self.n_items, "be one number per rung, 2 or more, not descending")
        _refuse(not 0 <= self.indifference < math.inf, "indifference", self.indifference, "be points, 0 or more")
        _refuse(not 0.5 < self.confidence < 1, "confidence", self.confidence, "be between 0.5 and 1")
        _refuse(self.budget is not None and not self.budget > 0, "budget", self.budget, "be above 0")


def doubling(first: int, full: int) -> tuple[int, ...]:
    """Rungs that double from about `first` examples up to `full`, the last step being a doubling, too."""
    rungs = [full]
    while rungs[0] >= 2 * first:
        rungs.insert(0, rungs[0] // 2)
    return tuple(rungs)


@dataclass(frozen=True)
class Work:
    """A look that is wanted: train a candidate at a rate up to n_examples, score the first n_items."""

    model_id: str
    learning_rate: float
    n_examples: int
    n_items: int


@dataclass(frozen=True)
class Look:
    """A candidate at a rung.

    n_tokens: trained on from the start, at this rate. n_items_tokens: scored for this look. device_seconds: of this
    look alone, training since the last rung and scoring. won: (n_items,), 0, 1/2 or 1 in the order of the items; empty
    for a failure. train_loss: None where it is not known. failure: why there are no outcomes, None where there are.
    """

    model_id: str
    learning_rate: float
    n_examples: int
    n_tokens: int
    n_items_tokens: int
    device_seconds: float
    won: Floats = field(repr=False, compare=False)
    train_loss: float | None = None
    failure: str | None = None

    @property
    def accuracy(self) -> float:
        """Points, 0 to 100."""
        return 100 * float(self.won.mean())


@dataclass(frozen=True)
class Decision:
    """One row of what a race decided after a round of looks.

    n_examples: of the candidate so far. against: the other candidate of a comparison. estimate, lower, upper: for a
    candidate, its accuracy at the full data less that of `against`, in points. n_looks, tokens, device_seconds: of the
    whole race so far; tokens as the budget counts them.
    """

    round: int
    model_id: str
    decision: Kind
    reason: str
    n_examples: int = 0
    learning_rate: float | None = None
    against: str | None = None
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    probability_best: float | None = None
    n_looks: int = 0
    tokens: float = 0.0
    device_seconds: float = 0.0


@dataclass(frozen=True)
class Standing:
    """A candidate at the end. estimate: its accuracy at the full data less that of the winner, in points.

    is_told_apart: shown to be worse than the winner (the interval holds neither 0 nor a lead).
    """

    model_id: str
    estimate: float
    lower: float
    upper: float
    probability_best: float
    n_examples: int
    is_dropped: bool
    is_told_apart: bool


@dataclass(frozen=True)
class Answer:
    """What a race found; it can be asked for at any time after the first round.

    probability_best: that the winner is the best of a census on the same items; probability_within: that nothing is
    better by more than the indifference. indifference_set: the winner, and those that are not told apart from it.
    reason: of the end, None while the race goes on. census_*: expected cost of training every candidate at every rate
    to the end, and scoring each once.
    """

    winner: str | None
    probability_best: float
    probability_within: float
    indifference_set: tuple[str, ...]
    reason: Reason | None
    text: str
    standings: tuple[Standing, ...]
    n_looks: int
    trained_tokens: int
    scored_tokens: int
    device_seconds: float
    census_trained_tokens: float
    census_scored_tokens: float
    census_device_seconds: float

    @property
    def tokens(self) -> float:
        """Tokens as the budget counts them."""
        return self.trained_tokens + SCORED * self.scored_tokens

    @property
    def census_tokens(self) -> float:
        """The same of a census."""
        return self.census_trained_tokens + SCORED * self.census_scored_tokens


def _ascends(values: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(values))


def _refuse(is_wrong: bool, name: str, value: object, rule: str) -> None:
    if is_wrong:
        raise UserError(f"rules of the race: {name} is {value}; must {rule}")

"""Settings of rewards with checks: a reward model's reward plus checks of the text. Torch-free."""

from __future__ import annotations

import math
import re
from itertools import chain
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import Count, CountOrZero, Distinct, Name, NotNegative, Settings, Text

PlainKind = Literal[
    "finished", "not_empty", "length", "no_open_thought", "pattern", "three_names", "ends_with_stop"
]  # fmt: skip
InstructionKind = Literal["ifeval_strict", "ifeval_loose", "ifeval_strict_prompt", "ifeval_loose_prompt"]
CheckKind = Literal[PlainKind, InstructionKind, "math_answer", "values"]
"""Of `ifeval_`: the share of the instructions that are followed, or 1 where all are (`_prompt`); by the response as it
is (strict), or by any of eight versions of it without its first line, its last line and its asterisks (loose)."""
KINDS: tuple[str, ...] = get_args(CheckKind)
INSTRUCTION_KINDS: tuple[InstructionKind, ...] = get_args(InstructionKind)
MOST_POINTS = 4096
"""Most points of a grid of weights."""
AGENTIC = "agentic:"
"""Beginning of the names of rewards with checks."""
ALONE = "@"
"""Between the name of a reward with several checks and that of the one check that is added alone."""


class Check(Settings):
    """A check of responses and completions; its value is from 0 to 1."""

    name: Name
    """Name of the check in all tables."""
    kind: CheckKind | None = None
    """What is checked; by default what the name says. `ifeval_strict`, `ifeval_loose`: share of the prompt's
    instructions that are followed, by IFEval's checkers; with `_prompt`: 1 where all are. `math_answer`: the right
    answer. `finished`, `not_empty`, `length`, `no_open_thought`, `pattern`: form of the text. `values`: from a file.
    `three_names`, `ends_with_stop`: of the lab."""
    at_least: CountOrZero | None = None
    """Fewest UTF-8 bytes, of the kind `length`."""
    at_most: Count | None = None
    """Most UTF-8 bytes, of the kind `length`."""
    pattern: Text | None = None
    """Regular expression (Python's) that the text has, of the kind `pattern`."""
    path: Text | None = None
    """File of values from 0 to 1, of the kind `values`: rows of `policy_id`, `prompt_id`, `response_no` and `value`, or
    of `benchmark`, `subset`, `item_id`, `completion` and `value`. A relative path begins at the folder of the study
    file; `~` and variables are filled in."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        if self.kind is None and self.name not in KINDS:
            text = "is no check by its name; name it as one of {kinds}, or state its kind"
            raise PydanticCustomError("check", text, {"kinds": ", ".join(KINDS)})
        bounds = self.at_least is not None or self.at_most is not None
        for given, kind, key in (
            (bounds, "length", "at_least or at_most"),
            (self.pattern is not None, "pattern", "pattern"),
            (self.path is not None, "values", "path"),
        ):
            if given != (self.of == kind):
                text = (
                    "needs {key}; add it" if self.of == kind else "has {key}, which only the kind {kind} has; remove it"
                )
                raise PydanticCustomError("check", text, {"key": key, "kind": kind})
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise PydanticCustomError("check", "has at_least above at_most; correct one of them")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                text = "has a pattern that is no regular expression ({error}); correct it"
                raise PydanticCustomError("check", text, {"error": str(error)}) from None
        return self

    @property
    def of(self) -> str:
        """Its kind."""
        return self.kind or self.name


class WeightFit(Settings):
    """How weights are chosen: by accuracy on a part of a benchmark's items, which are left out of its gains."""

    checks: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct]
    """Names of the checks."""
    grid: Annotated[tuple[NotNegative, ...], Field(strict=False, min_length=2), Distinct] = (0.0, 0.25, 0.5, 1.0, 2.0)
    """Weights that each check is tried with, in standard deviations of the reward."""
    benchmark: Name | None = None
    """Benchmark that they are chosen on; by default the first of the study."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of its items that choose."""

    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        if math.prod([len(self.grid)] * len(self.checks)) > MOST_POINTS:
            text = "has a grid of more than {most} points; take fewer checks or weights"
            raise PydanticCustomError("weight_fit", text, {"most": MOST_POINTS})
        return self


class AgenticReward(Settings):
    """A reward with checks: (reward - mean) / sd + sum of weight * check; either `weights` or `fit`."""

    reward: Name
    """reward_id of the reward model: of the study's, or of its score files."""
    reward_id: Name | None = None
    """Name in all tables; by default `agentic:`, the reward, and the checks, each after `+`."""
    weights: Annotated[dict[Name, NotNegative], Field(min_length=1)] | None = None
    """Weight of each check, in standard deviations of the reward."""
    fit: WeightFit | None = None
    """Weights that are chosen on a benchmark."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if (self.weights is None) == (self.fit is None):
            raise PydanticCustomError("agentic", "needs either weights or fit, one of them")
        if self.reward_id is not None and not self.reward_id.startswith(AGENTIC):
            text = (
                "has the reward_id '{name}'; names of rewards with checks begin with '{start}': write '{start}{name}'"
            )
            raise PydanticCustomError("agentic", text, {"name": self.reward_id, "start": AGENTIC})
        return self

    @property
    def checks(self) -> tuple[str, ...]:
        """Names of its checks, sorted."""
        return tuple(sorted(self.weights or (self.fit.checks if self.fit else ())))

    @property
    def name(self) -> str:
        """Its reward_id."""
        return self.reward_id or "+".join([f"{AGENTIC}{self.reward}", *self.checks])

    @property
    def members(self) -> dict[str, tuple[str, ...]]:
        """Checks by reward_id: all of them, and of several each one alone."""
        alone = {f"{self.name}{ALONE}{check}": (check,) for check in self.checks} if len(self.checks) > 1 else {}
        return {self.name: self.checks} | alone


class Agentic(Settings):
    """Rewards with checks."""

    checks: Annotated[tuple[Check, ...], Field(strict=False)] = ()
    """Checks with settings, or with names of your own; those that the rewards name by their kind need no entry."""
    rewards: Annotated[tuple[AgenticReward, ...], Field(strict=False, min_length=1)]
    """The rewards."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [one.name for one in self.checks]
        if repeated := [name for name in names if names.count(name) > 1]:
            text = "has the check '{name}' twice; give one of them another name"
            raise PydanticCustomError("agentic", text, {"name": repeated[0]})
        for check in chain.from_iterable(one.checks for one in self.rewards):
            if check not in names and (check not in KINDS or check in ("length", "pattern", "values")):
                text = "names the check '{name}', which is not under agentic.checks; add it there"
                raise PydanticCustomError("agentic", text, {"name": check})
        rewards = [one.name for one in self.rewards]
        if repeated := [name for name in rewards if rewards.count(name) > 1]:
            text = "has the reward '{name}' twice; give one of them a reward_id of its own"
            raise PydanticCustomError("agentic", text, {"name": repeated[0]})
        return self

    @property
    def used_checks(self) -> dict[str, Check]:
        """The checks that rewards use, by name, sorted."""
        listed = {one.name: one for one in self.checks}
        used = sorted(set(chain.from_iterable(one.checks for one in self.rewards)))
        return {name: listed.get(name) or Check(name=name) for name in used}

    @property
    def members(self) -> dict[str, tuple[AgenticReward, tuple[str, ...]]]:
        """The reward and its checks by every reward_id."""
        return {name: (one, checks) for one in self.rewards for name, checks in one.members.items()}

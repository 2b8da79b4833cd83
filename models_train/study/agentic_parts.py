"""The parts of rewards with checks: results of checks, weights, rewards and names, with their run ids. Torch-free.

They follow from the rewards of the plain reward model that are there: on each benchmark of the study, and on the
responses of each policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from models_train.parts import content_hash, newest_runs
from models_train.store import Parts
from models_train.study.agentic import AgenticReward, Check
from models_train.study.fingerprints import benchmark_set_run_id, content_of, items_run_id, resolve
from models_train.study.response_ids import CHECKS_VERSION, check_run_id
from models_train.study.response_parts import Responses, responses_of
from models_train.study.reward_ids import source_run_id
from models_train.study.study import Study
from warehouse.contracts import Table
from warehouse.contracts.responses import RESPONSE_CHECKS, RESPONSE_REWARDS
from warehouse.contracts.scores import (
    AGENTIC_FITS,
    AGENTIC_WEIGHTS,
    COMPLETION_CHECKS,
    COMPLETION_REWARDS,
    REWARD_SOURCES,
    REWARDBENCH,
)

AGENTIC_VERSION = 1
"""Version of rewards with checks; a change of their results raises it."""
On = str | Responses
"""A benchmark by name, or the responses of a policy."""


def checks_on(on: On) -> Table:
    """The table of results of checks."""
    return COMPLETION_CHECKS if isinstance(on, str) else RESPONSE_CHECKS


def rewards_on(on: On) -> Table:
    """The table of rewards."""
    return COMPLETION_REWARDS if isinstance(on, str) else RESPONSE_REWARDS


@dataclass(frozen=True)
class CheckPart:
    """Results of a check on a benchmark, or on responses."""

    check: Check
    on: On
    run_id: str


@dataclass(frozen=True)
class RewardInputs:
    """What rewards with checks are computed from. plain: run id of the plain rewards; checks: of results, by name."""

    on: On
    plain: str
    checks: Mapping[str, str]


@dataclass(frozen=True)
class WeightPart:
    """The weights of a reward with some of its checks, and the grid that they were chosen from.

    fit: of the grid, the plain rewards and results of checks that it is computed from; None for stated weights.
    """

    reward_id: str
    reward: AgenticReward
    checks: tuple[str, ...]
    run_id: str
    fit: RewardInputs | None


@dataclass(frozen=True)
class RewardPart:
    """Rewards with checks on a benchmark, or on responses."""

    weights: WeightPart
    inputs: RewardInputs
    run_id: str


@dataclass
class AgenticParts:
    """The parts that a study asks for and that can be made of what is there. Raises LocationError where it is read.

    study_folder: of the study file.
    """

    parts: Parts
    study: Study
    study_folder: Path
    _items: dict[str, str] = field(default_factory=dict)

    @cached_property
    def plain_on_benchmarks(self) -> dict[tuple[str, str], str]:
        """Run ids of the rewards on benchmarks that are there, by reward_id and benchmark."""
        found = newest_runs(self.parts, COMPLETION_REWARDS, self.study.study_id)
        return {(of["reward_id"], of["benchmark"]): run_id for of, run_id in found}

    @cached_property
    def plain_on_responses(self) -> dict[tuple[str, str, str], str]:
        """The same of responses, by reward_id, policy_id and prompt_set."""
        found = newest_runs(self.parts, RESPONSE_REWARDS, self.study.study_id)
        return {(of["reward_id"], of["policy_id"], of["prompt_set"]): run_id for of, run_id in found}

    @cached_property
    def responses(self) -> list[Responses]:
        return responses_of(self.parts, self.study)

    @cached_property
    def checks(self) -> list[CheckPart]:
        """Results of checks on all that some plain reward is there for."""
        assert self.study.agentic is not None
        wanted: dict[tuple[str, On], CheckPart] = {}
        for reward in self.study.agentic.rewards:
            for inputs in self._inputs(reward):
                for name, run_id in inputs.checks.items():
                    check = self.study.agentic.used_checks[name]
                    wanted[name, inputs.on] = CheckPart(check, inputs.on, run_id)
        return list(wanted.values())

    @cached_property
    def weights(self) -> list[WeightPart]:
        """Weights that are stated, or whose benchmark has plain rewards."""
        assert self.study.agentic is not None
        found = []
        for name, (reward, checks) in self.study.agentic.members.items():
            settings = reward.model_dump(mode="json", exclude={"reward_id"})
            own = {"version": AGENTIC_VERSION, "reward": settings, "checks": checks}
            if reward.fit is None:
                found.append(WeightPart(name, reward, checks, content_hash(own | {"name": name}), None))
                continue
            on = self.fit_benchmark(reward)
            fit = next((one for one in self._inputs(reward) if one.on == on), None)
            if fit is not None:
                made = own | {"name": name, "plain": fit.plain, "results": fit.checks}
                found.append(WeightPart(name, reward, checks, content_hash(made), fit))
        return found

    @cached_property
    def rewards(self) -> list[RewardPart]:
        """Rewards on all that the plain reward is there for."""
        found = []
        for weights in self.weights:
            for inputs in self._inputs(weights.reward):
                made = {"weights": weights.run_id, "plain": inputs.plain, "results": inputs.checks}
                found.append(RewardPart(weights, inputs, content_hash(made)))
        return found

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Rows of reward_sources. They name no base model: what rewards of one base model share is not theirs alone."""
        unknown: dict[str, Any] = dict.fromkeys(REWARD_SOURCES.filled_columns.names)
        return [
            unknown | {"reward_id": one.reward_id, "kind": "agentic", "scale": "mean_score"} for one in self.weights
        ]

    def run_ids(self) -> Iterator[tuple[str, str]]:
        """Table and run id of every part."""
        for check in self.checks:
            yield checks_on(check.on).name, check.run_id
        for weights in self.weights:
            yield AGENTIC_WEIGHTS.name, weights.run_id
            if weights.fit is not None:
                yield AGENTIC_FITS.name, weights.run_id
        for reward in self.rewards:
            yield rewards_on(reward.inputs.on).name, reward.run_id
        for source in self.sources:
            yield REWARD_SOURCES.name, source_run_id(source)

    def fit_benchmark(self, reward: AgenticReward) -> str | None:
        """The benchmark that weights are chosen on; None where they are stated, or the study has none."""
        if reward.fit is None:
            return None
        return reward.fit.benchmark or next(iter(self.study.reward_benchmarks), None)

    def _inputs(self, reward: AgenticReward) -> Iterator[RewardInputs]:
        for benchmark in self.study.reward_benchmarks:
            if plain := self.plain_on_benchmarks.get((reward.reward, benchmark)):
                yield RewardInputs(benchmark, plain, self._check_run_ids(reward, benchmark))
        for one in self.responses:
            if plain := self.plain_on_responses.get((reward.reward, one.policy_id, one.prompt_set)):
                yield RewardInputs(one, plain, self._check_run_ids(reward, one))

    def _check_run_ids(self, reward: AgenticReward, on: On) -> dict[str, str]:
        assert self.study.agentic is not None
        return {name: self._check_run_id(self.study.agentic.used_checks[name], on) for name in reward.checks}

    def _check_run_id(self, check: Check, on: On) -> str:
        if check.name == "math_answer" and check.of == check.name and isinstance(on, Responses):
            return check_run_id("math_answer", on.run_id)  # that of gold rewards
        of = self._items_run_id(on) if isinstance(on, str) else on.run_id
        values = content_of(resolve(check.path, self.study_folder)) if check.path else None
        settings = check.model_dump(mode="json", exclude={"path"})
        return content_hash({"version": CHECKS_VERSION, "check": settings, "values": values, "of": [str(on), of]})

    def _items_run_id(self, benchmark: str) -> str:
        if benchmark not in self._items:
            study, folder = self.study, self.study_folder
            if benchmark == REWARDBENCH and study.training is not None and study.test_set is not None:
                self._items[benchmark] = items_run_id(study.training, folder)
            else:
                (one,) = (one for one in study.benchmark_sets if one.name == benchmark)
                self._items[benchmark] = benchmark_set_run_id(one, folder)
        return self._items[benchmark]


def agentic_parts(parts: Parts, study: Study, study_folder: Path) -> AgenticParts | None:
    """The parts of a study's rewards with checks; None for a study without any."""
    return AgenticParts(parts, study, study_folder) if study.agentic is not None else None

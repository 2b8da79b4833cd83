"""A race as a study asks for it, with what it leaves open filled in, and the names of its results. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models_train.errors import UserError
from models_train.parts import content_hash
from models_train.study.checks import race_problems
from models_train.study.fingerprints import TRAINING_VERSION, benchmark_set_run_id, data_identity, model_identity
from models_train.study.models import StudyModel
from models_train.study.race import Budget, Race, budget_of, first_rates
from models_train.study.settings import Objective, field_problems
from models_train.study.study import Study
from models_train.study.training import Training
from warehouse.contracts.scores import REWARDBENCH

RACE_VERSION = 1
"""Version of races; a change of their results raises it, and every race is run again."""


@dataclass(frozen=True)
class RacePlan:
    """A race of a study. settings: those of its group, and what was asked for in their place."""

    study: Study
    training: Training
    settings: Race
    candidates: tuple[str, ...]

    @property
    def objective(self) -> Objective:
        """Objective of the reward models."""
        return self.settings.objective or self.training.objectives[0]

    @property
    def benchmark(self) -> str:
        """Name of the benchmark whose items decide."""
        default = self.study.answer_on
        named = default if default in self.study.reward_benchmarks else self.study.reward_benchmarks[0]
        return self.settings.decides or named

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates at the first rung, ascending."""
        return tuple(sorted(self.settings.rates or first_rates(self.training.recipe(self.objective).learning_rates)))

    @property
    def budget(self) -> Budget | None:
        """Most that the race may cost."""
        return None if self.settings.budget is None else budget_of(self.settings.budget)

    @cached_property
    def models(self) -> dict[str, StudyModel]:
        """The candidates by name, in the order of the study file."""
        return {name: model for name, model in self.study.by_id.items() if name in self.candidates}


def race_plan(study: Study, where: str, asked: Mapping[str, Any] | None = None) -> RacePlan:
    """The race of a study, by its group `race` or, without one, as by default. asked: settings in place of the group's.

    where: the study file, for messages. Raises UserError where the study has no race to run.
    """
    if study.training is None:
        raise UserError(f"{where}: the study {study.study_id} trains no reward models; add a group `training` to it")
    try:
        settings = (study.race or Race()).asked(dict(asked or {}))
    except ValidationError as error:
        texts = [f"{problem.where}: {problem.text}" for problem in field_problems(error, Race)]
        raise UserError(f"race of {study.study_id}: {'; '.join(texts)}") from None
    problems = list(race_problems(settings, study.training, study.model_ids, study.reward_benchmarks))
    if problems:
        raise UserError("\n".join(f"{where}: {problem.where}: {problem.text}" for problem in problems))
    wanted = settings.candidates or study.model_ids
    return RacePlan(study, study.training, settings, tuple(name for name in study.model_ids if name in wanted))


def look_run_id(
    plan: RacePlan, model_id: str, learning_rate: float, n_examples: int, n_items: int, folder: Path
) -> str:
    """Run id of a look: a base model that is trained up to some examples, and scored on some of the items that decide.

    Races share looks, whatever they ask for else: with more candidates, a larger budget, other rungs.
    """
    of_look = _of_items(plan, folder) | {"n_examples": n_examples, "n_items": n_items}
    return content_hash(_of_training(plan, model_id, learning_rate, folder) | of_look)


def training_id(plan: RacePlan, model_id: str, learning_rate: float, folder: Path) -> str:
    """Name of the folder of a training run of the race."""
    return content_hash(_of_training(plan, model_id, learning_rate, folder))


def race_run_id(plan: RacePlan, folder: Path) -> str:
    """Run id of a race."""
    apart = {"candidates", "objective", "decides", "rates", "train_all"}
    settings = plan.settings.model_dump(mode="json", exclude=apart)
    return content_hash(
        {
            "version": RACE_VERSION,
            "settings": settings,
            "runs": [[name, training_id(plan, name, rate, folder)] for name in plan.candidates for rate in plan.rates],
            "items": _of_items(plan, folder),
        }
    )


def _of_training(plan: RacePlan, model_id: str, learning_rate: float, folder: Path) -> dict[str, Any]:
    training, objective = plan.training, plan.objective
    ratings = training.ratings if objective == "regression" else None
    return {
        "version": [RACE_VERSION, TRAINING_VERSION],
        "model": model_identity(plan.models[model_id], folder),
        "objective": objective,
        "recipe": training.recipe(objective).model_dump(mode="json", exclude={"learning_rates", "checkpoint_every"}),
        "rate": learning_rate,
        "seed": plan.settings.seed,
        "precision": training.precision,
        "thoughts": training.thoughts,
        "preferences": data_identity(training.preferences, folder),
        "ratings": data_identity(ratings, folder),
    }


def _of_items(plan: RacePlan, folder: Path) -> dict[str, Any]:
    if plan.benchmark == REWARDBENCH and plan.study.test_set is not None:
        return {"items": data_identity(plan.study.test_set, folder), "order": plan.settings.seed}
    (one,) = (one for one in plan.study.benchmark_sets if one.name == plan.benchmark)
    return {"items": benchmark_set_run_id(one, folder), "order": plan.settings.seed}


def race_cost_run_id(race: str, model_id: str, is_of_race: bool = True) -> str:
    """Run id of the costs of a base model in a race, or of what its census cost beyond the race."""
    return content_hash({"race": race, "model": model_id, "is_of_race": is_of_race})


def race_cost_variant(objective: str, is_of_race: bool = True) -> str:
    """Variant of these costs."""
    return objective if is_of_race else f"{objective}@census"

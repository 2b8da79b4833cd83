"""Ensembles of reward models: their formulas, and who their members are (definitions, Section 13).

Members are z-scored by their own mean and standard deviation on the responses of the policy, so that no member counts
more for its scale. ddof is named with each formula, since public code differs: 0 here, in best of n as in training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models_train.selection.item_metrics import Floats

Over = Literal["seeds", "bases", "objectives", "mixed"]
UWO_WEIGHT = 0.5
SOFTNESS = 1.0


def uwo(members: Floats, weight: float, ddof: int = 0) -> Floats:
    """Mean less weight times the variance of the members (uncertainty-weighted optimisation). members: first axis."""
    return np.asarray(members.mean(axis=0) - weight * members.var(axis=0, ddof=ddof))


def soft_min(members: Floats, softness: float) -> Floats:
    """-b log mean exp(-r/b): the mean for b to infinity, the minimum for b to 0, about `uwo` with 1/(2b) between."""
    lowest = members.min(axis=0)
    return np.asarray(lowest - softness * np.log(np.exp((lowest - members) / softness).mean(axis=0)))


@dataclass(frozen=True)
class Formula:
    """How members (first axis) make one reward; parameters as text, empty where there are none."""

    name: str
    parameters: str
    of: Callable[[Floats], Floats]


FORMULAS = (
    Formula("mean", "", lambda members: np.asarray(members.mean(axis=0))),
    Formula("min", "", lambda members: np.asarray(members.min(axis=0))),
    Formula("uwo", f"lambda {UWO_WEIGHT:g}, ddof 0", lambda members: uwo(members, UWO_WEIGHT)),
    Formula("mean_minus_std", "ddof 0", lambda members: np.asarray(members.mean(axis=0) - members.std(axis=0))),
    Formula("median", "", lambda members: np.asarray(np.median(members, axis=0))),
    Formula("soft_min", f"b {SOFTNESS:g}", lambda members: soft_min(members, SOFTNESS)),
)


@dataclass(frozen=True)
class Source:
    """What a reward model was made of; None where it is not known. scale: logit, mean_score or bounded."""

    reward_id: str
    model_id: str | None = None
    objective: str | None = None
    seed: int | None = None
    data_id: str | None = None
    base_model: str | None = None
    scale: str = "logit"


@dataclass(frozen=True)
class Ensemble:
    """Reward models that are taken together. over: in what the members differ."""

    over: Over
    name: str
    members: tuple[str, ...]

    @property
    def ensemble_id(self) -> str:
        return f"ensemble:{self.over}/{self.name}"


def ensembles_of(sources: Iterable[Source]) -> list[Ensemble]:
    """Every group of trained reward models that differ in nothing but seeds, bases or objectives.

    Of several seeds, an ensemble over bases or objectives takes the first of each. A reward model whose base model or
    objective is not known is in none.
    """
    known = [one for one in sources if one.model_id is not None and one.objective is not None]
    known.sort(key=lambda one: (one.seed or 0, one.reward_id))
    first = list({(one.model_id, one.objective, one.data_id): one for one in reversed(known)}.values())
    # Ratings and preferences are different data, also of one data set: of an objective's data sets the first counts.
    of_objective = {(one.model_id, one.objective): one for one in reversed(known)}.values()
    return [
        *_grouped("seeds", known, lambda one: (one.model_id, one.objective, one.data_id)),
        *_grouped("bases", first, lambda one: (one.objective, one.data_id)),
        *_grouped("objectives", of_objective, lambda one: (one.model_id,)),
    ]


def _grouped(over: Over, sources: Iterable[Source], key: Callable[[Source], tuple[str | None, ...]]) -> list[Ensemble]:
    groups: Mapping[tuple[str | None, ...], list[str]] = defaultdict(list)
    for one in sources:
        groups[key(one)].append(one.reward_id)
    named = {"/".join(part for part in parts if part is not None): members for parts, members in groups.items()}
    return [Ensemble(over, name, tuple(sorted(named[name]))) for name in sorted(named) if len(named[name]) > 1]

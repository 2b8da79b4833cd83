"""Names of a study's reward models, and the facts on each that its study file states. Torch-free."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, get_args

from models_train.study.models import StudyModel
from models_train.study.settings import Objective
from models_train.study.study import Study
from models_train.study.training import Training

SCALES: dict[Objective, str] = {"bradley_terry": "logit", "regression": "mean_score"}
"""Scale of the reward by objective: of Bradley-Terry only differences within a prompt matter."""


def trained_reward_id(model_id: str, objective: str) -> str:
    """Name of the reward model of a base model and objective, such as `gemma-2-2b-it/regression`."""
    return f"{model_id}/{objective}"


def is_trained(reward_id: str) -> bool:
    """True for the name of a reward model that a study trains or trained; others end otherwise."""
    return reward_id.rpartition("/")[2] in get_args(Objective)


def trained_sources(study: Study) -> list[dict[str, Any]]:
    """Rows of reward_sources, one per reward model that the study trains."""
    training = study.training
    if training is None:
        return []
    models = [study.by_id[model_id] for model_id in study.compared_model_ids]
    return [_source(model, training, objective) for model in models for objective in training.objectives]


def _source(model: StudyModel, training: Training, objective: Objective) -> dict[str, Any]:
    read = training.ratings if objective == "regression" else training.preferences
    seeds = training.search.seeds
    return {
        "reward_id": trained_reward_id(model.model_id, objective),
        "kind": "trained",
        "model_id": model.model_id,
        "objective": objective,
        # Of several the search chooses one.
        "seed": seeds[0] if len(seeds) == 1 else None,
        "data_id": None if read is None else read.hub_id or PurePath(read.path or "").name,
        "hub_id": None,
        "revision": None,
        "scale": SCALES[objective],
        "base_model": model.model_id,
        "family": model.family,
        "publisher": model.publisher,
        "params_b": model.params_b,
    }

"""Names of a study's reward models, and the facts on each that its study file states. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from models_train.parts import content_hash
from models_train.reward_benchmarks.items import family_of
from models_train.study.reward_benchmarks import FACTS
from models_train.study.settings import Objective
from models_train.study.study import Study
from models_train.study.training import Training
from models_train.study.training import trained_reward_id as trained_reward_id
from models_train.study.training import variant as variant
from models_train.study.training import variants as variants
from warehouse.contracts.scores import REWARDBENCH

SCALES: dict[Objective, str] = {"bradley_terry": "logit", "regression": "mean_score"}
"""Scale of the reward by objective: of Bradley-Terry only differences within a prompt matter."""

OF_MODEL = ("family", "publisher", "params_b")
"""Facts on a reward model that are those of its base model."""


def scoring_variant(benchmark: str, objective: str, seed: int | None = None) -> str:
    """Variant of the costs of scoring a benchmark, such as `regression/s1@rewardmath`; of RewardBench without it."""
    return variant(objective, seed) + ("" if benchmark == REWARDBENCH else f"@{benchmark}")


@dataclass(frozen=True)
class Trained:
    """A reward model that the study trains. seed: of a further one; None for the search's."""

    model_id: str
    objective: Objective
    seed: int | None


def trained_by_id(study: Study) -> dict[str, Trained]:
    """The reward models that a study trains, by reward_id."""
    if study.training is None:
        return {}
    return {
        trained_reward_id(model, *one): Trained(model, *one)
        for model in study.compared_model_ids
        for one in variants(study.training, model)
    }


def trained_reward_ids(study: Study) -> set[str]:
    """Names of the reward models that the study trains."""
    return set(trained_by_id(study))


def trained_sources(study: Study) -> list[dict[str, Any]]:
    """Rows of reward_sources, one per reward model that the study trains."""
    training = study.training
    if training is None:
        return []
    seeds = training.search.seeds
    first = seeds[0] if len(seeds) == 1 else None  # of several the search chooses one
    rows = []
    for model in (study.by_id[name] for name in study.compared_model_ids):
        facts = model.model_dump(include=set(OF_MODEL))
        for objective, seed in variants(training, model.model_id):
            row = source_row(model.model_id, objective, **facts, data_id=_data_id(training, objective))
            row["reward_id"] = trained_reward_id(model.model_id, objective, seed)
            rows.append(row | {"seed": first if seed is None else seed})
    return rows


def stated_sources(study: Study) -> list[dict[str, Any]]:
    """Rows of reward_sources of the reward models that the study trains, of those that it only scores, and of rewards
    in its files of responses."""
    scored = [
        described_source(study, one.reward_id, "hub", one.model_dump(include=set(FACTS))) for one in study.reward_models
    ]
    return [*trained_sources(study), *scored, *_sources_of_responses(study)]


def _sources_of_responses(study: Study) -> list[dict[str, Any]]:
    """Rows of rewards that only files of responses have."""
    described = {one.reward_id for one in study.score_imports}
    named = dict.fromkeys(one.reward_id for one in study.teachers.responses) if study.teachers else {}
    unknown = dict.fromkeys(FACTS) | {"scale": "bounded"}
    return [described_source(study, name, "imported", unknown) for name in named if name and name not in described]


def described_source(study: Study, reward_id: str, kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The row of reward_sources of a reward model that was not trained here.

    facts: FACTS; where its base model is one of the study's, that one adds some.
    """
    base = facts["base_model"]
    models = [model for model in study.by_id.values() if base in (model.model_id, model.hub_id)]
    model = models[0] if base is not None and len(models) == 1 else None
    return {
        **facts,
        "reward_id": reward_id,
        "kind": kind,
        "model_id": model.model_id if model else None,
        "seed": None,
        "family": facts["family"] or (model.family if model else family_of(base)),
        "params_b": facts["params_b"] or (model.params_b if model else None),
    }


def source_row(model_id: str, objective: Objective, **facts: Any) -> dict[str, Any]:
    """The row of reward_sources of a trained reward model. facts: seed, data_id and OF_MODEL, where they are known."""
    unknown = dict.fromkeys(("seed", "data_id", "hub_id", "revision", *OF_MODEL))
    own = {"kind": "trained", "model_id": model_id, "objective": objective, "base_model": model_id}
    own["reward_id"], own["scale"] = trained_reward_id(model_id, objective), SCALES[objective]
    return unknown | own | facts


def source_run_id(row: Mapping[str, Any]) -> str:
    """Run id of a row of reward_sources: with other facts it is another one."""
    return content_hash(row)


def _data_id(training: Training, objective: Objective) -> str | None:
    """Name of the data set on the hub, or of the file, that the reward model is trained on."""
    read = training.ratings if objective == "regression" else training.preferences
    return None if read is None else read.hub_id or PurePath(read.path or "").name

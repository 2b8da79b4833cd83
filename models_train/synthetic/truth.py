"""The truth of a lab as rows of its raw tables: mixes, weights behind the preferences, settings. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models_train.data.records import ATTRIBUTES
from models_train.errors import UserError
from models_train.study.lab import Lab, LabModel
from models_train.study.scoring import DOMAINS
from models_train.study.study import Study
from models_train.synthetic.preferences import TRUE_WEIGHTS

SETTINGS = (
    "seed",
    "vocabulary",
    "documents_per_domain",
    "preferences",
    "ratings",
    "validation",
    "preference_noise",
    "rating_noise",
    "test_pairs_per_subset",
)


def truth_rows(study: Study, lab: Lab, n_parameters: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables of `warehouse.contracts.lab`, by table. n_parameters: of every model of the lab."""
    return {
        "lab_mixes": [row for spec in lab.models for row in _mix(study, lab, spec, n_parameters[spec.model_id])],
        "lab_attribute_weights": [
            {"attribute": name, "weight": weight} for name, weight in zip(ATTRIBUTES, TRUE_WEIGHTS, strict=True)
        ],
        "lab_settings": [{"setting": name, "value": getattr(lab, name)} for name in SETTINGS],
    }


def pretrained(study: Study, lab: Lab, model_id: str) -> LabModel:
    """The model of the lab whose pre-training a model has: itself, or the nearest ancestor that has a mix.

    Raises UserError where there is none.
    """
    specs = {spec.model_id: spec for spec in lab.models}
    parents = {model.model_id: model.parent for model in study.models}
    name: str | None = model_id
    while name is not None:
        spec = specs.get(name)
        if spec is not None and spec.mix is not None:
            return spec
        name = parents.get(name)
    raise UserError(f"{model_id}: neither it nor a parent has a mix; give it one in the lab of the study file")


def _mix(study: Study, lab: Lab, spec: LabModel, n_parameters: int) -> list[dict[str, Any]]:
    origin = pretrained(study, lab, spec.model_id)
    return [
        {
            "model_id": spec.model_id,
            "domain": domain,
            "share": origin.share(domain),
            "pretrained_model_id": origin.model_id,
            "pretraining_tokens": origin.pretraining_tokens,
            "parameters_m": n_parameters / 1e6,
        }
        for domain in DOMAINS
    ]

"""A study with training and scoring, and how to change a setting of it."""

from __future__ import annotations

import copy
from typing import Any

from models_train.study.study import Study

SETTINGS: dict[str, Any] = {
    "study_id": "tiny",
    "title": "Two models",
    "synthetic": True,
    "source": "made in a test",
    "size_groups": [{"name": "all", "params_b_from": 0, "default": "hub"}],
    "training": {
        "preferences": {"path": "./preferences.jsonl"},
        "ratings": {"path": "./ratings.jsonl"},
        "test_set": {"path": "./test_set.jsonl"},
        "search": {"method": "exhaustive"},
        "bradley_terry": {"learning_rates": [1e-6]},
        "regression": {"learning_rates": [1e-6]},
    },
    "scoring": {"corpus": {"name": "texts", "source": {"path": "./documents.jsonl"}}},
    "models": [
        {"model_id": "hub", "hub_id": "org/hub", "family": "H", "params_b": 1.0, "stage": "base"},
        {"model_id": "local", "hub_id": "./local", "family": "L", "params_b": 1.0, "stage": "base"},
    ],
}


def changed(settings: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The settings with one of them changed; key: such as `training.bradley_terry.epochs` or `models.0.hub_id`."""
    found = copy.deepcopy(settings)
    inner: Any = found
    *way, last = [int(step) if step.isdigit() else step for step in key.split(".")]
    for step in way:
        inner = inner[step] if isinstance(step, int) else inner.setdefault(step, {})
    inner[last] = value
    return found


def study_of(settings: dict[str, Any]) -> Study:
    """The study of these settings."""
    return Study.model_validate(settings)

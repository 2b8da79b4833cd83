"""A small study that trains reward models: a tiny random Llama, short preference pairs, ratings made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tests.support import data_files
from tests.support.made_data import preferences, ratings_of
from tests.support.tiny_models import write_base

STUDY_ID, MODEL_ID = "small", "tiny"
N_TRAIN, N_VALIDATION = 48, 24
RECIPE: dict[str, Any] = {
    "learning_rates": [1e-4, 1e-3, 1e-2],
    "global_batch": 8,
    "warmup_steps": 1,
    "checkpoint_every": 3,
    "max_tokens": 400,
}
SEARCH: dict[str, Any] = {"method": "successive_halving", "rungs": [0.34, 1.0], "keep": 0.34}
SPENT = ("device_seconds", "seconds", "peak_memory_bytes")
"""Columns that differ between equal searches."""


def write_study(folder: Path, **training: Any) -> Path:
    """Write study file, model and data; training: changes of the group `training`."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model").exists():
        write_base(folder / "model")
    pairs = preferences(N_TRAIN, N_VALIDATION)
    data_files.write(folder / "preferences.jsonl", pairs)
    data_files.write(folder / "ratings.jsonl", [rating for row in pairs for rating in ratings_of(row)])
    data_files.write(folder / "test_set.jsonl", [{}])
    settings = {
        "preferences": {"path": "preferences.jsonl"},
        "ratings": {"path": "ratings.jsonl"},
        "test_set": {"path": "test_set.jsonl"},
        "bradley_terry": RECIPE,
        "regression": RECIPE,
        "search": SEARCH,
        "precision": "float32",
        "tokens_per_pack": 2048,
    }
    model = {
        "model_id": MODEL_ID,
        "hub_id": "./model",
        "publisher": "nobody",
        "family": "Llama",
        "params_b": 0.1,
        "stage": "base",
    }
    study = {
        "study_id": STUDY_ID,
        "title": "Small",
        "synthetic": False,
        "source": "made in a test",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": MODEL_ID}],
        "models": [model],
        "training": settings | training,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def arguments(study: Path, home: Path, objective: str = "bradley_terry", model: str = MODEL_ID) -> list[str]:
    """Of the job."""
    return ["--study", str(study), "--home", str(home), "--model", model, "--objective", objective]


def parts(home: Path) -> dict[str, pl.DataFrame]:
    """The parts of a home by their table, in the order of their keys."""
    files = sorted((home / "parts").rglob("*.parquet"))
    return {file.parent.parent.name: pl.read_parquet(file, hive_partitioning=False) for file in files}


def results(home: Path) -> dict[str, Any]:
    """All that a search leaves, but for what it cost: rows of the parts, files of the reward models."""
    found: dict[str, Any] = {name: frame.drop(SPENT, strict=False).to_dicts() for name, frame in parts(home).items()}
    models = home / "reward_models"
    files = sorted(path for path in models.rglob("*") if path.is_file())
    return found | {path.relative_to(models).as_posix(): path.read_bytes() for path in files}

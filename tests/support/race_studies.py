"""A small study whose base models race: tiny random Llamas of different sizes, short pairs, own pairs to decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import yaml
from transformers import LlamaConfig

from models_train.jobs import race
from tests.support import data_files
from tests.support.made_data import own_pairs, preferences, ratings_of
from tests.support.tiny_models import SIZES, write_base

STUDY_ID = "raced"
N_TRAIN, N_VALIDATION, N_ITEMS = 40, 8, 24
RECIPE: dict[str, Any] = {"learning_rates": [1e-3, 1e-2], "global_batch": 8, "warmup_steps": 1, "max_tokens": 400}
RACE: dict[str, Any] = {"rungs": [0.2, 0.4, 0.8, 1.0], "decides": "mine"}
HIDDEN = {"small": 16, "middle": 32, "other": 32}
"""Size of each base model."""
SPENT = ("training_seconds", "device_seconds", "census_device_seconds", "peak_memory_bytes")
"""Columns that differ between equal races."""


class Silent:
    """A reporter that keeps what was said. raises: the failure."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def done(self, metadata: Any) -> None:
        self.lines += [f"{name}: {value}" for name, value in metadata.items()]

    def fail(self, message: str) -> Any:
        raise AssertionError(message)


def write_study(folder: Path, **changes: Any) -> Path:
    """Write study file, models and data. changes: of the whole study; None takes a group out."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, hidden) in enumerate(HIDDEN.items()):
        if not (folder / name).exists():
            write_base(folder / name, LlamaConfig(**SIZES | {"hidden_size": hidden}), seed=seed)
    pairs = preferences(N_TRAIN, N_VALIDATION)
    data_files.write(folder / "preferences.jsonl", pairs)
    data_files.write(folder / "ratings.jsonl", [rating for row in pairs for rating in ratings_of(row)])
    data_files.write(folder / "mine.jsonl", own_pairs(N_ITEMS))
    models = [
        {"model_id": name, "hub_id": f"./{name}", "publisher": "nobody", "family": name, "params_b": hidden / 1000}
        for name, hidden in HIDDEN.items()
    ]
    study = {
        "study_id": STUDY_ID,
        "title": "A race of tiny models",
        "synthetic": False,
        "source": "made in a test",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "small"}],
        "models": [model | {"stage": "base"} for model in models],
        "training": {
            "preferences": {"path": "preferences.jsonl"},
            "ratings": {"path": "ratings.jsonl"},
            "bradley_terry": RECIPE,
            "regression": RECIPE,
            "precision": "float32",
            "tokens_per_pack": 2048,
        },
        "benchmark_sets": [{"name": "mine", "path": "mine.jsonl"}],
        "race": RACE,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({name: one for name, one in (study | changes).items() if one is not None}))
    return path


def run_race(path: Path, home: Path, asked: str = "{}") -> Silent:
    """Run the job in this process."""
    report = Silent()
    report.done(race.run(path, home, asked, report))  # type: ignore[arg-type]
    return report


def rows(home: Path, table: str) -> pl.DataFrame:
    """All rows in the parts of a table, in the order of their keys."""
    files = sorted((home / "parts" / table).rglob("*.parquet"))
    frame = pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files])
    return frame.sort(
        [name for name in ("objective", "method", "place", "look_id", "model_id") if name in frame.columns]
    )


def results(home: Path) -> dict[str, list[dict[str, Any]]]:
    """All that a race leaves, but for the seconds that it took."""
    tables = ("race_looks", "race_entries", "race_decisions", "race_answers", "run_costs")
    return {table: rows(home, table).drop(SPENT, strict=False).to_dicts() for table in tables}

"""Benchmarks of reward models as parts of the contract, from small tables of completions; RewardMATH's scores."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_train.parts import content_hash, write_part
from warehouse.contracts import TABLES


@dataclass(frozen=True)
class Item:
    """An item: rewards of its completions by reward_id, right ones first; None: none. generators: family of each."""

    subset: str
    item_id: str
    n_correct: int
    rewards: Mapping[str, Sequence[float | None]]
    category: str | None = None
    generators: Sequence[str | None] = ()

    @property
    def n(self) -> int:
        return max(len(rewards) for rewards in self.rewards.values())

    @property
    def completions(self) -> list[str]:
        if (self.n, self.n_correct) == (2, 1):
            return ["chosen", "rejected"]
        right = [f"correct_{place}" for place in range(1, self.n_correct + 1)]
        return right + [f"wrong_{place}" for place in range(1, self.n - self.n_correct + 1)]


@dataclass
class Benchmarks:
    """Items by benchmark, and facts on the rewards: columns of reward_sources by reward_id."""

    items: dict[str, list[Item]]
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, parts: Path, study_id: str) -> None:
        """Write the parts of a study."""
        names = {name for items in self.items.values() for item in items for name in item.rewards}
        for name in sorted(names):
            source = [self._source(name)]
            write_part(parts, TABLES["reward_sources"], source, study_id=study_id, run_id=content_hash(source))
        for benchmark, items in self.items.items():
            listed = [row for item in items for row in _completions(benchmark, item)]
            write_part(parts, TABLES["item_completions"], listed, study_id=study_id, run_id=benchmark)
            rows = [_item(benchmark, item) for item in items]
            write_part(parts, TABLES["benchmark_items"], rows, study_id=study_id, run_id=benchmark)
            for name in sorted({name for item in items for name in item.rewards}):
                rewards = [row for item in items if name in item.rewards for row in _rewards(benchmark, item, name)]
                run_id = content_hash([benchmark, name])
                write_part(parts, TABLES["completion_rewards"], rewards, study_id=study_id, run_id=run_id)

    def _source(self, reward_id: str) -> dict[str, Any]:
        columns = [column.name for column in TABLES["reward_sources"].filled_columns]
        own = {"reward_id": reward_id, "kind": "imported", "scale": "logit"}
        return dict.fromkeys(columns) | own | self.sources.get(reward_id, {})


def _item(benchmark: str, item: Item) -> dict[str, Any]:
    return {
        "benchmark": benchmark, "subset": item.subset, "item_id": item.item_id, "category": item.category,
        "n_completions": item.n, "n_correct": item.n_correct, "prompt_hash": None, "source": "made",
    }  # fmt: skip


def _completions(benchmark: str, item: Item) -> list[dict[str, Any]]:
    generators = [*item.generators, *[None] * (item.n - len(item.generators))]
    return [
        {
            "benchmark": benchmark, "subset": item.subset, "item_id": item.item_id, "completion": name,
            "place": place + 1, "is_correct": place < item.n_correct, "style": None, "generator": generators[place],
            "generator_family": generators[place], "n_bytes": None,
        }
        for place, name in enumerate(item.completions)
    ]  # fmt: skip


def _rewards(benchmark: str, item: Item, reward_id: str) -> list[dict[str, Any]]:
    return [
        {
            "reward_id": reward_id, "benchmark": benchmark, "subset": item.subset, "item_id": item.item_id,
            "completion": name, "attribute": "reward", "reward": reward, "n_tokens": None, "is_truncated": False,
            "status": "no reward" if reward is None else "ok", "source": "made",
        }
        for name, reward in zip(item.completions, item.rewards[reward_id], strict=True)
    ]  # fmt: skip


REWARD_MODELS = {
    "ArmoRM": ("ArmoRM_reward", "llama"),
    "Eurus-RM": ("Eurus-RM_reward", "mistral"),
    "GRM-Gemma": ("grm_gemma_reward", "gemma"),
    "Skywork": ("skywork_llama3_reward", "llama"),
}
"""File and family of the base model of the reward models whose scores on RewardMATH are given."""
MATH_PRM = {"ArmoRM": "rewardbench_ArmoRM", "GRM-Gemma": "rewardbench_GRM_Gemma_2B"}
GENERATORS = ("llama", "gemma", "mistral", "mixtral", "phi", "gpt", "claude", "wizard", "qwen")


def published_scores(folder: Path) -> Benchmarks:
    """RewardMATH, 483 items, and RewardBench's math-prm, 447 items, with the published rewards."""
    files = {name: _read(folder / f"{file}.json.gz") for name, (file, _) in REWARD_MODELS.items()}
    items = [
        Item("rewardmath", f"{place:04d}", 1, dict(zip(files, scores, strict=True)), generators=_families(row))
        for place, (row, *scores) in enumerate(
            zip(files["ArmoRM"], *([row["score"] for row in rows] for rows in files.values()), strict=True)
        )
    ]
    pairs = {name: _read(folder / f"{file}.json.gz") for name, file in MATH_PRM.items()}
    problems = sorted(row["problem"] for row in pairs["ArmoRM"])
    by_problem = {name: {row["problem"]: row["score"] for row in rows} for name, rows in pairs.items()}
    math_prm = [
        Item("math-prm", f"{place:04d}", 1, {name: rows[problem] for name, rows in by_problem.items()}, "reasoning")
        for place, problem in enumerate(problems)
    ]
    sources = {name: {"family": family, "base_model": family} for name, (_, family) in REWARD_MODELS.items()}
    return Benchmarks({"rewardmath": items, "rewardbench": math_prm}, sources)


def _read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        rows: list[dict[str, Any]] = json.load(file)
    return rows


def _families(row: dict[str, Any]) -> list[str | None]:
    """Family of each generator by its name, from the longest; None where none is in it."""
    names = [str(name).lower() for name in row["solution_reference"]]
    return [
        next((family for family in sorted(GENERATORS, key=len, reverse=True) if family in name), None) for name in names
    ]

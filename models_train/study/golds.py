"""The gold rewards of a study: their names and sources, which parts they have, and the strongest reward model.

Torch-free. A gold reward is a reward of its own: where it is a reward model under another name, or the strongest one,
its rewards are copies.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from models_train.parts import content_hash, newest_runs, part_path, read_table
from models_train.store import Parts, Place
from models_train.study.response_ids import check_run_id, gold_run_id
from models_train.study.response_parts import Responses, responses_of
from models_train.study.reward_ids import trained_reward_ids
from models_train.study.study import Study
from models_train.study.teachers import FLAT, Gold
from warehouse.contracts.responses import RESPONSE_REWARDS
from warehouse.contracts.scores import COMPLETION_REWARDS, MERGED, REWARD, REWARD_SOURCES, REWARDBENCH

_SUBSETS = Path(__file__).resolve().parents[2] / "dbt" / "seeds" / "rewardbench_subsets.csv"
_SOURCES = {"checks": ("function", "bounded"), "labels": ("human", "mean_score"), "lab": ("function", "mean_score")}
"""Kind and scale of a gold reward that is no reward model."""

Run = tuple[str, str, str]
"""reward_id, policy_id and prompt_set of rewards of responses."""


@dataclass(frozen=True)
class GoldPart:
    """Rewards that a gold reward gives to responses. copied: run id of the rewards that they are copies of."""

    gold: Gold
    reward_id: str
    responses: Responses
    run_id: str
    copied: str | None = None


def golds_of(study: Study) -> tuple[Gold, ...]:
    """The gold rewards of a study."""
    return study.teachers.gold if study.teachers else ()


def gold_ids(study: Study) -> set[str]:
    """Names of the gold rewards, and of the flat teachers beside the lab's truth."""
    return {name for gold in golds_of(study) for name in gold.names}


def model_of_gold(gold: Gold, parts: Parts, study: Study) -> str | None:
    """reward_id of the reward model that a gold reward is; None for other kinds, and for a strongest not known yet."""
    return strongest(parts, study) if gold.strongest else gold.reward


def gold_parts(parts: Parts, study: Study, study_folder: Path) -> Iterator[GoldPart]:
    """The rewards that gold rewards give to the responses that are there. Raises LocationError."""
    responses = responses_of(parts, study)
    there = rewards_there(parts, study)
    for gold in golds_of(study):
        model = model_of_gold(gold, parts, study)
        for one in responses:
            if gold.kind != "reward":
                yield from _made(gold, one, study, study_folder)
            elif model != gold.name and (copied := there.get((model or "", one.policy_id, one.prompt_set))):
                yield GoldPart(gold, gold.name, one, content_hash({"gold": gold.name, "copied": copied}), copied)


def _made(gold: Gold, one: Responses, study: Study, study_folder: Path) -> Iterator[GoldPart]:
    checks = [check_run_id(check, one.run_id) for check in gold.checks]
    run_id = content_hash([gold_run_id(gold, study, one.run_id, study_folder), *checks])
    yield GoldPart(gold, gold.name, one, run_id)
    if gold.lab:
        seed = study.lab.seed if study.lab else 0
        yield GoldPart(gold, gold.name + FLAT, one, content_hash([run_id, FLAT, seed]))


def rewards_there(parts: Parts, study: Study) -> dict[Run, str]:
    """Run ids of the rewards of responses that are there."""
    return {
        (of["reward_id"], of["policy_id"], of["prompt_set"]): run_id
        for of, run_id in newest_runs(parts, RESPONSE_REWARDS, study.study_id)
    }


def gold_rows(parts: Parts, study: Study) -> list[dict[str, Any]]:
    """Rows of gold_rewards. A strongest reward model has one once one is scored."""
    rows = []
    for gold in golds_of(study):
        model = model_of_gold(gold, parts, study)
        if gold.strongest and model is None:
            continue
        checks = "[" + ", ".join(f'"{check}"' for check in gold.checks) + "]" if gold.checks else None
        rows.append({"gold_id": gold.name, "kind": gold.kind, "checks": checks, "excluded": model})
    return rows


def source_rows(parts: Parts, study: Study) -> list[dict[str, Any]]:
    """Rows of reward_sources of the gold rewards that are no reward model of this name."""
    runs = {of["reward_id"]: run_id for of, run_id in newest_runs(parts, REWARD_SOURCES, study.study_id)}
    unknown: dict[str, Any] = dict.fromkeys(REWARD_SOURCES.filled_columns.names)
    rows = []
    for gold in golds_of(study):
        model = model_of_gold(gold, parts, study)
        if gold.kind == "reward":
            if model in runs and model != gold.name:
                source = read_table(part_path(parts, REWARD_SOURCES.name, study.study_id, runs[model])).to_pylist()[0]
                rows.append({name: source[name] for name in unknown} | {"reward_id": gold.name})
            continue
        kind, scale = _SOURCES[gold.kind]
        for name in gold.names:
            rows.append(unknown | {"reward_id": name, "kind": kind, "scale": scale})
    return rows


def strongest(parts: Parts, study: Study) -> str | None:
    """The trained reward model with the highest RewardBench score, of equal ones the first by name; None where none is
    scored on all that another one is."""
    trained = trained_reward_ids(study)
    scores = {
        of["reward_id"]: _score(part_path(parts, COMPLETION_REWARDS.name, study.study_id, run_id))
        for of, run_id in newest_runs(parts, COMPLETION_REWARDS, study.study_id)
        if of["benchmark"] == REWARDBENCH and of["reward_id"] in trained
    }
    most = max((len(categories) for categories in scores.values()), default=0)
    means = {name: sum(one.values()) / most for name, one in scores.items() if most and len(one) == most}
    return min(means, key=lambda name: (-means[name], name), default=None)


_scores: dict[str, Mapping[str, float]] = {}
"""Scores by the place of their rewards, which never change there."""


def _score(part: Path | Place) -> Mapping[str, float]:
    """Accuracy of a reward model in each category of RewardBench that it has pairs of (definitions, Section 1)."""
    if str(part) not in _scores:
        _scores[str(part)] = _accuracies(read_table(part))
    return _scores[str(part)]


def _accuracies(rows: pa.Table) -> Mapping[str, float]:
    pairs: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    names = {*rows["attribute"].to_pylist()}
    for row in rows.to_pylist():
        if row["attribute"] == (MERGED if MERGED in names else REWARD) and row["reward"] is not None:
            pairs[row["subset"], row["item_id"]][row["completion"]] = row["reward"]
    won: dict[str, list[bool]] = defaultdict(list)
    for (subset, _), pair in pairs.items():
        if len(pair) == 2:
            won[subset].append(pair["chosen"] > pair["rejected"])
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for subset, (category, weight) in _subsets().items():
        if won[subset]:
            found[category].append((weight, sum(won[subset]) / len(won[subset])))
    return {
        category: sum(weight * value for weight, value in shares) / sum(weight for weight, _ in shares)
        for category, shares in found.items()
    }


@lru_cache(maxsize=1)
def _subsets() -> dict[str, tuple[str, float]]:
    """Category of each subset of RewardBench, and its weight there."""
    with _SUBSETS.open(newline="", encoding="utf-8-sig") as file:
        return {row["subset"]: (row["category"], float(row["weight"])) for row in csv.DictReader(file)}

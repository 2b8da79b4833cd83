"""Sets of items, score files and studies with them, written as the benchmarks and tools write theirs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from models_train.reward_benchmarks.imports import Imported, import_scores, load_sets
from models_train.study.study import Study, load_study
from tests.support.data_files import json_lines

GENERATORS = ["human_to_GPT-4", "gpt-3.5-turbo-0125", "google/gemma-2-27b-it", "meta-llama/Meta-Llama-3-8B-Instruct"]
"""Authors of the four solutions of a made problem, the right one first."""


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json_lines(rows))
    return path


def study_with(
    folder: Path,
    imports: Sequence[Mapping[str, Any]] = (),
    sets: Sequence[Mapping[str, Any]] = (),
    **more: Any,
) -> Path:
    """A study file with one model, these score imports and these benchmark sets."""
    model = {"model_id": "tiny", "hub_id": "org/tiny", "publisher": "P", "family": "Llama-3", "params_b": 8.0}
    settings = {
        "study_id": "scores",
        "title": "Imported scores",
        "synthetic": True,
        "source": "made in a test",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "tiny"}],
        "models": [model | {"stage": "base"}],
        "benchmark_sets": list(sets),
        "score_imports": list(imports),
        **more,
    }
    path = folder / "scores.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return path


def entry(path: str, of: str, reward_id: str = "hub:RM", **more: Any) -> dict[str, Any]:
    """An entry of score_imports. of: its format."""
    return {"path": path, "format": of, "reward_id": reward_id, **more}


def imported(path: Path) -> Imported:
    """The scores of a study file."""
    study: Study = load_study(path)
    return import_scores(study, load_sets(study, path.parent), path.parent)


def rewards_of(found: Imported, benchmark: str, reward_id: str = "hub:RM") -> dict[tuple[str, str], dict[str, float]]:
    """Rewards by completion, by subset and item."""
    return {key: dict(one.values) for key, one in found.rewards[reward_id, benchmark].items()}


def problem(number: int, scores: Any, **more: Any) -> dict[str, Any]:
    """A row of RewardMATH's results."""
    return {"problem": f"Problem {number}?", "solution_reference": GENERATORS, "score": scores, **more}


def pair_scores(n: int, **columns: Any) -> dict[str, Any]:
    """A file of reward-bench, version 1: columns of n pairs, and the model's name."""
    own = {
        "id": list(range(n)),
        "subset": ["hep-python"] * n,
        "text_chosen": [f"<user>Question {i}<bot>good {i}" for i in range(n)],
        "text_rejected": [f"<user>Question {i}<bot>bad {i}" for i in range(n)],
        "results": [1] * n,
        "scores_chosen": [float(i) + 0.5 for i in range(n)],
        "scores_rejected": [float(i) for i in range(n)],
        "model": "org/RM",
        "model_type": "Seq. Classifier",
    }
    return own | columns


def pair_items(n: int) -> list[dict[str, Any]]:
    """Rows of RewardBench that the scores of `pair_scores` are of."""
    return [
        {"prompt": f"Question {i}", "chosen": f"good {i}", "rejected": f"bad {i}", "subset": "hep-python", "id": i}
        for i in range(n)
    ]


def best_of_4(**columns: Any) -> dict[str, Any]:
    """A file of reward-bench, version 2: two items of four completions, and a tie with its reference."""
    own = {
        "id": ["1", "2", "ref:0", "tied:0"],
        "subset": ["Math", "Math", "ties", "ties"],
        "scores": [[1.0, 0.5, 0.0, -1.0], [0.0, 1.0, 0.5, 0.25], [2.0, 0.5, 0.0], [3.0, 2.5, 1.0]],
        "num_correct": [1, 1, 1, 2],
        "text": [["a", "b", "c", "d"], ["a", "b", "c", "d"], ["a", "b", "c"], ["a", "b", "c"]],
        "results": [1.0, 0.0, 1.0, 1.0],
        "model": "org/RM",
    }
    return own | columns


def best_of_4_items() -> list[dict[str, Any]]:
    """Rows of RewardBench 2 that the scores of `best_of_4` are of."""
    return [
        {"id": "1", "prompt": "P1", "chosen": ["a"], "rejected": ["b", "c", "d"], "num_correct": 1, "subset": "Math"},
        {"id": "2", "prompt": "P2", "chosen": ["a"], "rejected": ["b", "c", "d"], "num_correct": 1, "subset": "Math"},
        {"id": "ref:0", "prompt": "P3", "chosen": ["a"], "rejected": ["b", "c"], "num_correct": 1, "subset": "Ties"},
        {"id": "tied:0", "prompt": "P4", "chosen": ["a", "b"], "rejected": ["c"], "num_correct": 2, "subset": "Ties"},
    ]


def styled(number: int, **more: Any) -> dict[str, Any]:
    """A row of RM-Bench with scores."""
    own = {
        "id": number,
        "prompt": f"P{number}",
        "chosen": ["short", "long", "**long**"],
        "rejected": ["wrong", "long and wrong", "**wrong**"],
        "score_chosen": [1.0, 2.0, 3.0],
        "score_rejected": [0.5, 2.5, 2.0],
    }
    return own | more


def judged(number: int, label: str = "A>B", scores: Any = (2.0, 1.0), **more: Any) -> dict[str, Any]:
    """A row of JudgeBench's output of a reward model: scores in both orders."""
    a, b = scores
    judgments = [{"judgment": {"scores": one}, "decision": "A>B"} for one in ([a, b], [b, a])]
    own = {
        "pair_id": f"pair-{number}",
        "source": "mmlu-pro-law",
        "question": f"Q{number}",
        "response_A": "first",
        "response_B": "second",
        "response_model": "gpt-4o-2024-05-13",
        "label": label,
    }
    return own | {"judgments": judgments} | more

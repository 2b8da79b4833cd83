"""Result files as lm_eval and EvalPlus write them, and a study that imports them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.studies import SETTINGS

TASKS = [
    {"name": "winogrande", "metric": "acc", "few_shot": 5, "topic": "General", "run": False},
    {"name": "gsm8k", "metric": "exact_match,strict-match", "few_shot": 5, "topic": "Math", "run": False},
]


def lm_eval_file(model: str = "org/hub", **more: Any) -> dict[str, Any]:
    """What `lm_eval --output_path` writes, in 0.4; the keys that nothing here reads are left out or short."""
    return {
        "results": {
            "winogrande": {
                "alias": "winogrande", "acc,none": 0.7403314917, "acc_stderr,none": 0.0123226, "sample_len": 1267,
            },
            "gsm8k": {
                "alias": "gsm8k", "exact_match,strict-match": 0.5, "exact_match_stderr,strict-match": 0.01,
                "exact_match,flexible-extract": 0.625, "exact_match_stderr,flexible-extract": 0.01,
            },
            "mmlu_virology": {"alias": " - virology", "acc,none": 0.4, "acc_stderr,none": 0.03},
        },
        "group_subtasks": {"winogrande": [], "gsm8k": []},
        "configs": {"winogrande": {"task": "winogrande", "output_type": "multiple_choice"}},
        "versions": {"winogrande": 1.0, "gsm8k": 3.0},
        "n-shot": {"winogrande": 5, "gsm8k": 5},
        "higher_is_better": {"winogrande": {"acc": True}, "gsm8k": {"exact_match": True}},
        "n-samples": {
            "winogrande": {"original": 1267, "effective": 1267}, "gsm8k": {"original": 1319, "effective": 1319},
        },
        "config": {"model": "hf", "model_args": {"pretrained": model}, "batch_size": "auto", "limit": None},
        "git_hash": "abc123",
        "date": 1745395271.9,
        "model_source": "hf",
        "model_name": model,
        "model_name_sanitized": model.replace("/", "__"),
        "total_evaluation_time_seconds": "81.3",
    } | more  # fmt: skip


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def solution(base: str, plus: str | None) -> dict[str, Any]:
    """One solution in a result file of EvalPlus since 0.2."""
    return {"task_id": "t", "solution": "def f(): ...", "base_status": base, "plus_status": plus,
            "base_fail_tests": [], "plus_fail_tests": []}  # fmt: skip


PATTERNS = {
    "HumanEval": (41, [("pass", "pass"), ("pass", "fail"), ("fail", "fail"), ("pass", "pass")]),
    "Mbpp": (63, [("pass", "pass"), ("pass", "fail"), ("fail", "fail")] * 2),
}
"""Statuses by the base and the further tests, and how often they follow each other: 164 and 378 tasks."""


def evalplus_file(dataset: str = "HumanEval", *, with_rates: bool = True, n: int | None = None) -> dict[str, Any]:
    """All tasks, or the first n. HumanEval: 75 % pass the base tests, 50 % both; Mbpp: two thirds and one third."""
    times, pattern = PATTERNS[dataset]
    statuses = (pattern * times)[:n]
    found: dict[str, Any] = {
        "date": "2026-11-20 10:00",
        "hash": "fe585eb4df8c88d844eeb463ea4d0302",
        "eval": {f"{dataset}/{number}": [solution(*one)] for number, one in enumerate(statuses)},
    }
    if with_rates:
        base = sum(one[0] == "pass" for one in statuses) / len(statuses)
        plus = sum(one == ("pass", "pass") for one in statuses) / len(statuses)
        found["pass_at_k"] = {"base": {"pass@1": base}, "plus": {"pass@1": plus}}
    return found


def import_study(
    folder: Path,
    imports: list[dict[str, Any]],
    tasks: list[dict[str, Any]] | None = None,
    models: list[dict[str, Any]] | None = None,
) -> Path:
    """A study file with these imports; its models are `hub` (org/hub) and `local`, where no others are given."""
    kept = {name: value for name, value in SETTINGS.items() if name not in ("training", "scoring")}
    study = kept | {"benchmarks": {"tasks": TASKS if tasks is None else tasks, "imports": imports}}
    if models is not None:
        study |= {
            "models": [{"family": "F", "params_b": 1.0, "stage": "base"} | model for model in models],
            "size_groups": [{"name": "all", "params_b_from": 0, "default": models[0]["model_id"]}],
        }
    return write(folder / "tiny.yaml", yaml.safe_dump(study))

"""Result files as lm_eval and EvalPlus write them, and a study that imports them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.support.studies import SETTINGS

TASKS = [
    {"name": "winogrande", "metric": "acc", "few_shot": 5, "topic": "General", "run": False},
    {"name": "gsm8k", "metric": "exact_match,strict-match", "topic": "Math", "run": False},
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
        "n-samples": {"winogrande": {"original": 1267, "effective": 1267}},
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


def evalplus_file(dataset: str = "HumanEval", *, with_rates: bool = True) -> dict[str, Any]:
    """Three of four solutions pass the base tests, two of them the further ones, too."""
    statuses = [("pass", "pass"), ("pass", "fail"), ("fail", "fail"), ("pass", "pass")]
    found: dict[str, Any] = {
        "date": "2026-11-20 10:00",
        "hash": "fe585eb4df8c88d844eeb463ea4d0302",
        "eval": {f"{dataset}/{number}": [solution(*one)] for number, one in enumerate(statuses)},
    }
    if with_rates:
        found["pass_at_k"] = {"base": {"pass@1": 0.75}, "plus": {"pass@1": 0.5}}
    return found


def import_study(folder: Path, imports: list[dict[str, Any]], tasks: list[dict[str, Any]] | None = None) -> Path:
    """A study file whose models are `hub` (org/hub) and `local`, with these imports."""
    kept = {name: value for name, value in SETTINGS.items() if name not in ("training", "scoring")}
    study = kept | {"benchmarks": {"tasks": TASKS if tasks is None else tasks, "imports": imports}}
    return write(folder / "tiny.yaml", yaml.safe_dump(study))

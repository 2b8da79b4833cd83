"""A small study that trains its policy by reward models, and the parts that this needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from transformers import LlamaConfig

from models_train.jobs import sample_responses, score_reward_model
from models_train.study.teachers import Method
from tests.support.data_files import write
from tests.support.own_classifiers import change, write_classifier
from tests.support.response_studies import MEASURE, POLICY, TEACH, prompts
from tests.support.score_files import study_with
from tests.support.tiny_models import SIZES, write_base

TEACH_SETTINGS: dict[str, Any] = {
    "method": ["rloo", "grpo", "best_of_n_distill"],
    "steps": 8,
    "prompts_per_step": 2,
    "generations": 2,
    "learning_rate": 5e-3,
    "kl": 0.01,
    "seeds": [0, 1],
}
ATTRIBUTES = {"0": "helpful", "1": "harmless", "2": "long"}
MERGE = {"helpful": -1.0, "harmless": 0.0, "long": 1.0}
FIRST = {"helpful": 1.0, "harmless": 0.0, "long": 0.0}


def taught_study(folder: Path, policy: Mapping[str, Any] | None = None, merge: Any = MERGE, **teach: Any) -> Path:
    """A study of a policy and two reward models of three attributes, equal but for their merge weights.

    `hub:first` is merged by its first attribute alone, `hub:merged` by `merge`. policy: changes of its settings.
    """
    write_base(folder / "policy")
    for name in ("first", "merged"):
        change(write_classifier(folder / name, LlamaConfig(**SIZES), 3), id2label=ATTRIBUTES, label2id=None)
    write(folder / "prompts.jsonl", prompts())
    write(folder / "pairs.jsonl", [{"id": "1", "prompt": "Which?", "chosen": "This one.", "rejected": "That one."}])
    scored = [
        {"reward_id": f"hub:{name}", "path": f"./{name}", "precision": "float32", "merge_weights": weights}
        for name, weights in (("first", FIRST), ("merged", merge))
    ]
    teachers = {
        "policies": [POLICY | dict(policy or {})],
        "prompts": {"path": "prompts.jsonl", "name": "questions", "measure": MEASURE, "teach": TEACH},
        "gold": [{"reward": "hub:first"}],
        "ensembles": [{"over": "bases", "members": ["hub:merged", "hub:first"]}],
        "teach": TEACH_SETTINGS | teach,
    }
    return study_with(folder, (), [{"name": "pairs", "path": "pairs.jsonl"}], reward_models=scored, teachers=teachers)


def prepared(folder: Path, policy: Mapping[str, Any] | None = None, merge: Any = MERGE, **teach: Any) -> Path:
    """The same, its policy sampled and all responses scored."""
    return prepare(taught_study(folder, policy, merge, **teach))


def prepare(path: Path) -> Path:
    """Sample the policy of such a study, and score all responses."""
    home = ["--home", str(path.parent / "home"), "--study", str(path)]
    sample_responses.main([*home, "--policy", str(POLICY["policy_id"])])
    for name in ("first", "merged"):
        score_reward_model.main([*home, "--reward", f"hub:{name}"])
    return path


def arguments(
    path: Path, reward_id: str, method: Method = "rloo", seed: int = 0, home: Path | None = None
) -> list[str]:
    """Of the job that teaches."""
    own = ["--study", str(path), "--home", str(home or path.parent / "home"), "--policy", str(POLICY["policy_id"])]
    return [*own, "--reward", reward_id, "--method", method, "--seed", str(seed)]


def table(home: Path, name: str) -> pl.DataFrame:
    """All parts of a table."""
    files = sorted((home / "parts" / name).glob("*/*.parquet"))
    return pl.read_parquet(files, hive_partitioning=False) if files else pl.DataFrame()

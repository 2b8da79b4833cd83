"""A small study that trains its policy by reward models, and the parts that this needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import torch
from transformers import AutoModelForSequenceClassification, LlamaConfig

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
STUDY_ID = "scores"


def taught_study(folder: Path, **teach: Any) -> Path:
    """A study of a policy and two reward models of three attributes. Their rewards are opposite at the first one.

    `hub:first` is merged by 1 times the first attribute, `hub:merged` by -1 times it.
    """
    write_base(folder / "policy")
    for name in ("first", "merged"):
        change(write_classifier(folder / name, LlamaConfig(**SIZES), 3), id2label=ATTRIBUTES, label2id=None)
    write(folder / "prompts.jsonl", prompts())
    pairs = [{"id": "1", "prompt": "Which?", "chosen": "This one.", "rejected": "That one."}]
    write(folder / "pairs.jsonl", pairs)
    weights = {
        "first": {"helpful": 1.0, "harmless": 0.0, "long": 0.0},
        "merged": {"helpful": -1.0, "harmless": 0.0, "long": 0.0},
    }
    scored = [
        {"reward_id": f"hub:{name}", "path": f"./{name}", "precision": "float32", "merge_weights": weights[name]}
        for name in weights
    ]
    teachers = {
        "policies": [POLICY],
        "prompts": {"path": "prompts.jsonl", "name": "questions", "measure": MEASURE, "teach": TEACH},
        "gold": [{"reward": "hub:first", "gold_id": "hub:first"}],
        "ensembles": [{"over": "bases", "members": ["hub:merged", "hub:first"]}],
        "teach": TEACH_SETTINGS | teach,
    }
    return study_with(folder, (), [{"name": "pairs", "path": "pairs.jsonl"}], reward_models=scored, teachers=teachers)


def prepared(folder: Path, **teach: Any) -> Path:
    """The same, its policy sampled and all responses scored."""
    path = taught_study(folder, **teach)
    home = ["--home", str(folder / "home"), "--study", str(path)]
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


@torch.no_grad()
def plain_rewards(folder: Path, token_ids: list[list[int]]) -> list[list[float]]:
    """Outputs of a reward model by Transformers alone."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    return [model(input_ids=torch.tensor([ids])).logits[0].tolist() for ids in token_ids]

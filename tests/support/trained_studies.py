"""Two studies that train and score: one of two tiny models, and a small lab."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from models_train.synthetic.tasks import write_tasks
from tests.support import made_data
from tests.support.bad_names import EMOJI, PAGE, SQL
from tests.support.data_files import write
from tests.support.storyteller import write_storyteller

N_PAIRS, N_VALIDATION = 48, 10
EPOCHS = 4
RECIPE = {"global_batch": 8, "warmup_steps": 2, "checkpoint_every": 5, "max_tokens": 384}
PER_SUBSET = 10
TESTED = ("llmbar", "math-prm", "hep-")
RANDOM = f"../random {SQL} {PAGE} [/] [{EMOJI}]|%..."
"""The second model's name: bad ones together, the terminal's markup, and what Dagster keeps for itself in keys."""
MODEL = {"params_b": 0.00026, "stage": "base"}


def write_data(folder: Path) -> None:
    """Preferences, ratings made of them, and PER_SUBSET pairs of each subset of Reasoning and llmbar's."""
    pairs = made_data.preferences(N_PAIRS - N_VALIDATION, N_VALIDATION)
    write(folder / "preferences.jsonl", pairs)
    write(folder / "ratings.jsonl", [rating for row in pairs for rating in made_data.ratings_of(row)])
    tested = [row for row in made_data.test_pairs(PER_SUBSET) if row["subset"].startswith(TESTED)]
    write(folder / "test.jsonl", tested)
    made_data.write_documents(folder / "documents.jsonl.gz")


def write_results(path: Path, accuracy: float) -> None:
    """A result file as `lm_eval --output_path` writes it, of the model `stories`. path: in results/stories/."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metrics = {"alias": "winogrande", "acc,none": accuracy, "acc_stderr,none": 0.014}
    found = {
        "results": {"winogrande": metrics},
        "n-shot": {"winogrande": 5},
        "model_name": str(path.parents[2] / "stories"),
    }
    path.write_text(json.dumps(found))


def own_study(folder: Path, storyteller: Path) -> dict[str, object]:
    """A study of two models, as its file has it; models, data and result files are written to `folder`."""
    shutil.copytree(storyteller, folder / "stories")
    write_storyteller(folder / "random", trained=False)
    write_data(folder)
    write_tasks(folder / "tasks", seed=0, n_items=20)
    write_results(folder / "results" / "stories" / "results_2026-11-20T10-00-00.000001.json", 0.5)
    return {
        "study_id": "mine",
        "title": "Two tiny models",
        "synthetic": False,
        "source": "trained here",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": RANDOM}],
        "models": [
            MODEL
            | {"model_id": "stories", "hub_id": str(folder / "stories"), "publisher": "some", "family": "stories"},
            MODEL | {"model_id": RANDOM, "hub_id": str(folder / "random"), "publisher": "nobody", "family": "none"},
        ],
        "training": {
            "preferences": {"path": str(folder / "preferences.jsonl")},
            "ratings": {"path": str(folder / "ratings.jsonl")},
            "test_set": {"path": str(folder / "test.jsonl")},
            "bradley_terry": RECIPE | {"learning_rates": [1e-3, 3e-3], "epochs": EPOCHS},
            "regression": RECIPE | {"learning_rates": [1e-3], "epochs": 2},
            "precision": "float32",
        },
        "scoring": {
            "corpus": {
                "name": "five_domains",
                "source": {"path": str(folder / "documents.jsonl.gz")},
                "documents_per_domain": 25,
            },
            "precision": "float32",
            "documents_per_shard": 100,
        },
        "benchmarks": {
            "precision": "float32",
            "tasks": [
                {"name": "order", "task": "lab_order", "folder": str(folder / "tasks"), "topic": "Reasoning"},
                {"name": "winogrande", "topic": "General", "few_shot": 5, "run": False},
            ],
            "imports": [{"path": str(folder / "results"), "format": "lm_eval"}],
        },
    }


MIXES = {"coder": {"Github": 0.8, "Book": 0.2}, "reader": {"Book": 0.8, "Github": 0.2}}
TASKS = ("lab_cloze_github", "lab_cloze_book")


def small_lab() -> dict[str, object]:
    """Two small base models on opposite mixes, and a further stage of one."""
    place = "$REWARDBASE_HOME/lab/small"
    common = {"publisher": "lab", "params_b": 0.00003, "tokens_t": 5e-8}
    models = [
        common | {"model_id": name, "hub_id": f"{place}/models/{name}", "family": name, "stage": "base"}
        for name in MIXES
    ]
    further = {"model_id": "coder-sft", "hub_id": f"{place}/models/coder-sft", "stage": "sft", "parent": "coder"}
    shape = {"architecture": "llama", "hidden": 32, "layers": 1}
    made = [shape | {"model_id": name, "pretraining_tokens": 50_000, "mix": mix} for name, mix in MIXES.items()]
    return {
        "study_id": "small",
        "title": "A small lab",
        "synthetic": True,
        "source": "made here",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "coder"}],
        "models": [*models, common | {"family": "coder"} | further],
        "lab": {
            "models": [*made, shape | {"model_id": "coder-sft"}],
            "vocabulary": 512,
            "documents_per_domain": 20,
            "preferences": 64,
            "ratings": 32,
            "validation": 32,
            "test_pairs_per_subset": 5,
            "questions_per_task": 20,
        },
        "training": {
            "preferences": {"path": f"{place}/preferences.jsonl"},
            "test_set": {"path": f"{place}/test.jsonl"},
            "objectives": ["bradley_terry"],
            "bradley_terry": {"learning_rates": [1e-3], "global_batch": 16, "warmup_steps": 2, "max_tokens": 512},
            "precision": "float32",
        },
        "scoring": {
            "corpus": {
                "name": "small_lab",
                "source": {"path": f"{place}/documents.jsonl"},
                "documents_per_domain": 20,
            },
            "precision": "float32",
        },
        "benchmarks": {
            "precision": "float32",
            "tasks": [
                {"name": name, "folder": f"{place}/tasks", "metric": "acc_norm", "topic": "Coding"} for name in TASKS
            ],
        },
    }

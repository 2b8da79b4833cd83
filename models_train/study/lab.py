"""Settings of the lab: base models that are made on the spot, and the sizes of its data sets. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.scoring import Domain
from models_train.study.settings import MOST, Count, Name, NotNegative, Seed, Settings

SUM_TOLERANCE = 1e-9
"""Largest difference from 1 of the sum of a mix."""
LAB_VERSION = 6
"""Version of the lab's code; a change of its output raises it, and every lab is made again."""
DATA_SETS = ("preferences.jsonl", "ratings.jsonl", "test.jsonl", "documents.jsonl", "rewardbench2.jsonl")
"""Files of a lab's folder."""
TASKS = "tasks"
"""Folder of a lab's benchmarks."""


class LabModel(Settings):
    """A base model that the lab makes."""

    model_id: Name
    """Name of the model; the study lists it under `models`, too."""
    architecture: Literal["llama", "qwen2", "gemma2"]
    """Architecture of Transformers."""
    hidden: Annotated[int, Field(ge=16, le=MOST, multiple_of=16)]
    """Width of the hidden states."""
    layers: Count
    """Number of layers."""
    vocabulary: Annotated[int, Field(ge=300, le=MOST)] | None = None
    """Entries of its tokenizer's vocabulary; without it, the lab's."""
    pretraining_tokens: Count | None = None
    """Tokens of pre-training; goes with `mix`."""
    mix: dict[Domain, NotNegative] | None = None
    """Shares of the domains in the pre-training text, with the sum 1. A model without it is a further stage (sft, dpo,
    rlvr) of its parent, trained on the lab's preferences."""

    steps: Count | None = None
    """Optimizer steps of a further stage; by default 40."""

    @model_validator(mode="after")
    def _a_mix_is_shares(self) -> Self:
        if self.mix is not None and self.steps is not None:
            raise PydanticCustomError("mix", "has steps, which are those of a further stage; remove steps or the mix")
        if (self.mix is None) != (self.pretraining_tokens is None):
            raise PydanticCustomError("mix", "needs both mix and pretraining_tokens, or neither (a further stage)")
        if self.mix is not None and abs(sum(self.mix.values()) - 1) > SUM_TOLERANCE:
            raise PydanticCustomError("mix", "has a mix whose shares do not add up to 1; correct them")
        return self

    def share(self, domain: Domain) -> float:
        """True share of a domain in the pre-training text, 0 to 1."""
        return (self.mix or {}).get(domain, 0.0)


class Lab(Settings):
    """Base models and data that are made on the spot, all of them from one seed."""

    seed: Seed = 0
    """Seed of all texts, models and data."""
    vocabulary: Annotated[int, Field(ge=300, le=MOST)] = 1024
    """Entries of the vocabulary of the tokenizers of models that state no other."""
    models: Annotated[tuple[LabModel, ...], Field(strict=False, min_length=1)]
    """Base models to make."""
    documents_per_domain: Count = 400
    """Documents of each domain."""
    preferences: Count = 480
    """Preference pairs to train on."""
    ratings: Count = 640
    """Rated responses to train on."""
    validation: Count = 160
    """Preference pairs, and rated responses, for validation."""
    preference_noise: NotNegative = 0.5
    """Scale of the logistic noise in the preferences; 0 for none."""
    rating_noise: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Chance that a rating is off by one."""
    test_pairs_per_subset: Count = 40
    """Test pairs of each subset."""
    best_of_4_per_subset: Count = 14
    """Items of each of RewardBench 2's five subsets of one right completion and three wrong ones."""
    ties: Count = 30
    """Pairs of prompts, ref and tied, of its sixth subset, Ties."""
    questions_per_task: Count = 80
    """Questions of each benchmark."""


def lab_folder(home: Path, study_id: str) -> Path:
    """Folder of a study's lab."""
    return home / "lab" / study_id


def model_folder(folder: Path, model_id: str) -> Path:
    """Folder of a model in the lab."""
    return folder / "models" / model_id

"""The lab of a study: base models that are made here, and how much of everything. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.scoring import DOMAINS, Domain
from models_train.study.settings import Count, Name, NotNegative, Settings

SUM_TOLERANCE = 1e-9
LAB_VERSION = 5
"""Raised when a change of code changes what the lab makes: then all of it is made anew."""


DATA_SETS = ("preferences.jsonl", "ratings.jsonl", "test.jsonl", "documents.jsonl")
TASKS = "tasks"
"""Files of a lab's folder, and the folder of its benchmarks."""


class LabModel(Settings):
    """A base model that the lab makes: its shape, and the mix of domains that it is pre-trained on.

    A model without `mix` is a further stage (sft, dpo, rlvr) of its parent, trained on the lab's preferences.
    """

    model_id: Name
    architecture: Literal["llama", "qwen2", "gemma2"]
    hidden: Annotated[int, Field(ge=16, multiple_of=16)]
    layers: Count
    pretraining_tokens: Count | None = None
    mix: dict[Domain, NotNegative] | None = None

    @model_validator(mode="after")
    def _a_mix_is_shares(self) -> Self:
        if (self.mix is None) != (self.pretraining_tokens is None):
            raise PydanticCustomError("mix", "needs both mix and pretraining_tokens, or neither (a further stage)")
        if self.mix is not None and abs(sum(self.mix.values()) - 1) > SUM_TOLERANCE:
            raise PydanticCustomError("mix", "has a mix whose shares do not add up to 1; mend them")
        return self

    def share(self, domain: Domain) -> float:
        """True share of a domain in the pre-training text, 0 to 1."""
        return (self.mix or {}).get(domain, 0.0)


class Lab(Settings):
    """A small world made on the spot (design: the lab): everything in it follows from `seed`."""

    seed: Annotated[int, Field(ge=0)] = 0
    vocabulary: Annotated[int, Field(ge=300)] = 1024
    models: Annotated[tuple[LabModel, ...], Field(strict=False, min_length=1)]
    documents_per_domain: Count = 400
    preferences: Count = 480
    ratings: Count = 640
    validation: Count = 160
    preference_noise: NotNegative = 0.5
    rating_noise: Annotated[float, Field(ge=0, le=1)] = 0.1
    test_pairs_per_subset: Count = 40
    questions_per_task: Count = 80


def lab_folder(home: Path, study_id: str) -> Path:
    """Folder of a study's lab."""
    return home / "lab" / study_id


def model_folder(folder: Path, model_id: str) -> Path:
    """Folder of a model in the lab."""
    return folder / "models" / model_id


def is_made(folder: Path, lab: Lab) -> bool:
    """True where every model and data set of the lab is in its folder; not whether they are of these settings."""
    weights = [model_folder(folder, spec.model_id) / "model.safetensors" for spec in lab.models]
    return all(path.exists() for path in (*weights, folder / TASKS, *(folder / name for name in DATA_SETS)))


__all__ = ["DOMAINS", "LAB_VERSION", "Lab", "LabModel", "is_made", "lab_folder", "model_folder"]

"""One record type for each kind of data. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

from models_train.parts import content_hash

Role: TypeAlias = Literal["user", "assistant", "system"]
Split: TypeAlias = Literal["train", "validation"]
ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
"""Attributes of a rated response, in the order of `Rating.attributes` and of a reward model's outputs."""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    role: Role
    text: str


Prompt: TypeAlias = tuple[Turn, ...]
"""A conversation up to the response that is wanted: its last turn is the user's."""


@dataclass(frozen=True)
class Preference:
    """Two responses to a prompt, the better one first. strength: 1 (slightly better) to 3 (much better)."""

    prompt: Prompt
    chosen: str
    rejected: str
    strength: int
    prompt_id: str
    split: Split


@dataclass(frozen=True)
class Rating:
    """A rated response. attributes: five values from 0 to 4, in the order of ATTRIBUTES."""

    prompt: Prompt
    response: str
    attributes: tuple[int, int, int, int, int]
    prompt_id: str
    split: Split


@dataclass(frozen=True)
class TestPair:
    """One item of a test set; `item_id` is unique within its subset. A completion may be empty: it gets a status."""

    __test__ = False  # pytest takes a class named Test... for a test

    prompt: Prompt
    chosen: str
    rejected: str
    subset: str
    item_id: str


@dataclass(frozen=True)
class Document:
    """A sampled document. document_id: the first 16 hex digits of the SHA-256 of its text in UTF-8."""

    document_id: str
    domain: str
    text: str


SplitRecord = TypeVar("SplitRecord", Preference, Rating)


@dataclass(frozen=True)
class Loaded(Generic[SplitRecord]):
    """Records of a data set in the order of its rows, and what became of the rows.

    `n_rows` were read; `n_ties_left_out` have strength 0 (preferences only); `n_train_rows_dropped` were training rows
    of the `n_prompts_in_both_splits` prompts that are validation prompts, too: validation keeps them. `split_rule`
    says where the split comes from: `column split`, `file names` or `prompt hash`.
    """

    records: tuple[SplitRecord, ...]
    n_rows: int
    n_ties_left_out: int
    n_prompts_in_both_splits: int
    n_train_rows_dropped: int
    split_rule: str

    @property
    def train(self) -> tuple[SplitRecord, ...]:
        """Records to train on."""
        return tuple(record for record in self.records if record.split == "train")

    @property
    def validation(self) -> tuple[SplitRecord, ...]:
        """Records to choose by."""
        return tuple(record for record in self.records if record.split == "validation")

    @property
    def validation_prompt_ids(self) -> frozenset[str]:
        """Prompts that nothing may be trained on."""
        return frozenset(record.prompt_id for record in self.validation)


def prompt_id(prompt: Prompt) -> str:
    """Names a prompt by its content: 16 hex digits, the same in every data set."""
    return content_hash([[turn.role, turn.text] for turn in prompt], 16)

"""One record type for each kind of data. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar

from models_train.errors import listed
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

    `n_rows` were read; `n_ties_left_out` have strength 0 or equal responses (preferences only);
    `n_prompts_in_both_splits` are prompts with training rows that are validation prompts, too: validation keeps them;
    `n_repeated` repeat a row that counts once; `n_repeated_kept` are ratings that repeat another one. `left_out`:
    further reasons, with the number of rows. `n_train_rows` are those that the split gives to training, `train_losses`
    the ones that are not among the records, by reason: `tie`, `repeated`, `split` (of prompts that validate), `bad`
    (cannot be used, of either split). `split_rule` says where the split comes from: `column split`, `file names`
    or `prompt hash`. `source`: the data set and its files.
    """

    records: tuple[SplitRecord, ...]
    n_rows: int
    n_ties_left_out: int
    n_prompts_in_both_splits: int
    split_rule: str
    n_repeated: int = 0
    n_repeated_kept: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    n_train_rows: int = 0
    train_losses: Mapping[str, int] = field(default_factory=dict)
    source: str = ""
    validation_files: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Sentences on what was read, by what rule it was split, and what became of it."""
        validating = listed(self.validation_files, most=3)
        rule = {
            "column split": "split by the column split",
            "file names": f"split by file names: {', '.join(validating)} validate, other files train",
            "prompt hash": "no split in columns or file names: prompts with the smallest hashes validate",
        }[self.split_rule]
        return [f"{self.source}: {self.n_rows:,} row{'s' if self.n_rows > 1 else ''}, {rule}", *self._losses()]

    @property
    def losses(self) -> str:
        """The rows that are no records, in brackets."""
        found = "; ".join(self._losses())
        return f" ({found})" if found else ""

    def _losses(self) -> list[str]:
        in_both = f"training rows of {self.n_prompts_in_both_splits:,} validation prompts, left out"
        counts = {
            "ties (strength 0, equal scores or equal responses), left out": self.n_ties_left_out,
            in_both: self.train_losses.get("split", 0),
            "repeated rows, left out": self.n_repeated,
            "repeated rows of one file, kept": self.n_repeated_kept,
            **{f"rows left out, because {reason}": n for reason, n in self.left_out.items()},
        }
        return [f"{what}: {n:,}" for what, n in counts.items() if n]

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

"""Training or validation: split by prompt, never by row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

from models_train.data.problems import Problems
from models_train.data.records import Loaded, Preference, Rating, Split
from models_train.data.rows import Row

VALIDATION_SHARE = 0.05
"""Share of the prompts that validate where the data do not say which."""

_NAMES = re.compile(r"(?P<train>train)|(?P<validation>val|dev|test|eval)")

SplitRecord = TypeVar("SplitRecord", Preference, Rating)


@dataclass(frozen=True)
class Assigned:
    """The split of each row, and the rule that it comes from."""

    splits: list[Split]
    rule: str


def assign(rows: Sequence[Row], prompt_ids: Sequence[str]) -> Assigned:
    """The split of each row, before prompts that lie in both are looked at.

    In this order: the rows' column `split` (every value but `train` is validation); the names of files or of their
    folders, where some begin with train and some with val, dev, test or eval (files of other names train); else the 5 %
    of the prompts, at least one, with the smallest SHA-256 of their id. Raises DataError where only some rows have a
    `split`.
    """
    stated = [row.values["split"] for row in rows]
    if any(stated):
        _refuse_gaps(rows)
        return Assigned(["train" if value == "train" else "validation" for value in stated], "column split")
    named = {file: _by_name(file) for file in {row.file for row in rows}}
    if {"train", "validation"} <= set(named.values()):
        return Assigned([named[row.file] or "train" for row in rows], "file names")
    held = _smallest(set(prompt_ids))
    return Assigned(["validation" if one in held else "train" for one in prompt_ids], "prompt hash")


def loaded(
    records: Sequence[SplitRecord], n_rows: int, n_ties: int, rule: str, held_out: Set[str] = frozenset()
) -> Loaded[SplitRecord]:
    """The records without training rows of validation prompts. held_out: further prompts not to be trained on."""
    validating = held_out | {record.prompt_id for record in records if record.split == "validation"}
    dropped = [record for record in records if record.split == "train" and record.prompt_id in validating]
    kept = tuple(record for record in records if record.split == "validation" or record.prompt_id not in validating)
    return Loaded(kept, n_rows, n_ties, len({record.prompt_id for record in dropped}), len(dropped), rule)


def _by_name(file: str) -> Split | None:
    for step in reversed(file.split("/")[-2:]):
        if found := _NAMES.match(step):
            return "train" if found["train"] else "validation"
    return None


def _refuse_gaps(rows: Sequence[Row]) -> None:
    problems = {row.file: Problems(row.file) for row in rows}
    for row in rows:
        if not row.values["split"]:
            problems[row.file].add("missing, but other rows have it; give every row its split", row.number, "split")
    for one in problems.values():
        one.raise_any()


def _smallest(prompt_ids: Set[str]) -> set[str]:
    count = max(1, round(VALIDATION_SHARE * len(prompt_ids)))
    return set(sorted(prompt_ids, key=lambda one: hashlib.sha256(one.encode()).hexdigest())[:count])

"""Preferences and ratings of HelpSteer2's columns, split by prompt (definitions, Section 9)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence, Set
from pathlib import Path
from typing import TypeVar

from models_train.data.records import ATTRIBUTES, Loaded, Preference, Rating, Split, prompt_id
from models_train.data.rows import Column, Row, filled_text, marked_prompt, text, whole_number
from models_train.data.sources import below, read_rows
from models_train.errors import Problems, UserError
from models_train.study.training import DataSource

VALIDATION_SHARE = 0.05
"""Share of the prompts held out for validation where the data name no split."""

PREFERENCE_COLUMNS = {
    "prompt": Column(marked_prompt),
    "response_1": Column(filled_text),
    "response_2": Column(filled_text),
    "preference_strength": Column(whole_number(-3, 3)),
    "split": Column(text, is_optional=True),
}
RATING_COLUMNS = {
    "prompt": Column(marked_prompt),
    "response": Column(filled_text),
    **{name: Column(whole_number(0, 4)) for name in ATTRIBUTES},
    "split": Column(text, is_optional=True),
}

_NAMES = re.compile(r"(?P<train>train)|(?P<validation>val|dev|test|eval)")

SplitRecord = TypeVar("SplitRecord", Preference, Rating)


def load_preferences(source: DataSource, study_folder: Path) -> Loaded[Preference]:
    """The preference pairs of a data set, in the order of its rows.

    Negative strength: response_1 is better; 0 is left out and counted. Splits are by prompt (`assign_splits`); a prompt
    of both splits is a validation prompt, and its training rows are dropped and counted. Of a repository such as
    HelpSteer2's, the files in the folder `preference` are read.

    Raises UserError for rows that cannot be used, and where nothing is left to train on or to validate with.
    """
    rows = list(read_rows(source, study_folder, PREFERENCE_COLUMNS, preference_files))
    ids = [prompt_id(row.values["prompt"]) for row in rows]
    splits, rule = assign_splits(rows, ids)
    records = [
        _preference(row, one, split)
        for row, one, split in zip(rows, ids, splits, strict=True)
        if row.values["preference_strength"]
    ]
    loaded = _without_leaks(records, len(rows), len(rows) - len(records), rule)
    if not loaded.train or not loaded.validation:
        raise UserError(
            f"{source.path or source.hub_id}: {len(loaded.train)} pairs to train on and {len(loaded.validation)} to "
            f"validate with, of {len(rows)} rows split by {rule}; both are needed: correct the column split, or add "
            "rows"
        )
    return loaded


def load_ratings(source: DataSource, study_folder: Path, held_out: Set[str] = frozenset()) -> Loaded[Rating]:
    """The rated responses of a data set, in the order of its rows.

    Splits are by prompt (`assign_splits`); training rows of validation prompts are dropped and counted. held_out:
    ids of further prompts to keep out of training, such as the validation prompts of the preferences, which select
    the checkpoints of both objectives.

    Raises UserError for rows that cannot be used, and where nothing is left to train on.
    """
    rows = list(read_rows(source, study_folder, RATING_COLUMNS, rating_files))
    ids = [prompt_id(row.values["prompt"]) for row in rows]
    splits, rule = assign_splits(rows, ids)
    records = [_rating(row, one, split) for row, one, split in zip(rows, ids, splits, strict=True)]
    loaded = _without_leaks(records, len(rows), 0, rule, held_out)
    if not loaded.train:
        raise UserError(
            f"{source.path or source.hub_id}: none of its {len(rows)} rows is left to train on (split by {rule}); add "
            "rows of other prompts, or correct the column split"
        )
    return loaded


def preference_files(names: list[str]) -> list[str]:
    """The files of the folder `preference`, or else all but those of `disagreements`."""
    others = set(below("disagreements", names))
    return below("preference", names) or [name for name in names if name not in others]


def rating_files(names: list[str]) -> list[str]:
    """All files but those of the folders `preference` and `disagreements`, which hold other columns."""
    others = {*below("preference", names), *below("disagreements", names)}
    return [name for name in names if name not in others]


def assign_splits(rows: Sequence[Row], prompt_ids: Sequence[str]) -> tuple[list[Split], str]:
    """The split of each row, and the rule that gave it; a prompt may still lie in both splits.

    In this order: the rows' column `split` (every value but `train` is validation); the names of files or of their
    folders, where some begin with train and some with val, dev, test or eval (files of other names train); else the 5 %
    of the prompts, at least one, with the smallest SHA-256 of their id. Raises UserError where only some rows have a
    `split`.
    """
    stated = [row.values["split"] for row in rows]
    if any(stated):
        _refuse_gaps(rows)
        return ["train" if value == "train" else "validation" for value in stated], "column split"
    named = {file: _split_of_file(file) for file in {row.file for row in rows}}
    if {"train", "validation"} <= set(named.values()):
        return [named[row.file] or "train" for row in rows], "file names"
    held_out = _smallest(set(prompt_ids))
    return ["validation" if one in held_out else "train" for one in prompt_ids], "prompt hash"


def _without_leaks(
    records: Sequence[SplitRecord], n_rows: int, n_ties: int, rule: str, held_out: Set[str] = frozenset()
) -> Loaded[SplitRecord]:
    """The records without training rows of validation prompts. held_out: further prompts not to be trained on."""
    validating = held_out | {record.prompt_id for record in records if record.split == "validation"}
    dropped = [record for record in records if record.split == "train" and record.prompt_id in validating]
    kept = tuple(record for record in records if record.split == "validation" or record.prompt_id not in validating)
    return Loaded(kept, n_rows, n_ties, len({record.prompt_id for record in dropped}), len(dropped), rule)


def _preference(row: Row, identity: str, split: Split) -> Preference:
    strength = row.values["preference_strength"]
    first, second = row.values["response_1"], row.values["response_2"]
    chosen, rejected = (first, second) if strength < 0 else (second, first)
    return Preference(row.values["prompt"], chosen, rejected, abs(strength), identity, split)


def _rating(row: Row, identity: str, split: Split) -> Rating:
    helpfulness, correctness, coherence, complexity, verbosity = (row.values[name] for name in ATTRIBUTES)
    attributes = (helpfulness, correctness, coherence, complexity, verbosity)
    return Rating(row.values["prompt"], row.values["response"], attributes, identity, split)


def _split_of_file(file: str) -> Split | None:
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

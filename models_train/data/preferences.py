"""Preferences of HelpSteer2-Preference's columns (definitions, Section 9)."""

from __future__ import annotations

from pathlib import Path

from models_train.data.columns import Column, filled_text, marked_prompt, text, whole_number
from models_train.data.problems import DataError
from models_train.data.records import Loaded, Preference, Split, prompt_id
from models_train.data.rows import Row
from models_train.data.sources import below, read_rows
from models_train.data.splits import assign, loaded
from models_train.study.training import DataSource

COLUMNS = {
    "prompt": Column(marked_prompt),
    "response_1": Column(filled_text),
    "response_2": Column(filled_text),
    "preference_strength": Column(whole_number(-3, 3)),
    "split": Column(text, is_optional=True),
}


def load_preferences(source: DataSource, study_folder: Path) -> Loaded[Preference]:
    """The preference pairs of a data set, in the order of its rows.

    Negative strength: response_1 is better; 0 is left out and counted. Splits are by prompt (`splits.assign`); a prompt
    of both splits is a validation prompt, and its training rows are dropped and counted. Of a repository such as
    HelpSteer2's, the files in the folder `preference` are read.

    Raises DataError for rows that cannot be used, and where nothing is left to train on or to validate with.
    """
    rows = list(read_rows(source, study_folder, COLUMNS, preference_files))
    ids = [prompt_id(row.values["prompt"]) for row in rows]
    assigned = assign(rows, ids)
    records = [
        _preference(row, one, split)
        for row, one, split in zip(rows, ids, assigned.splits, strict=True)
        if row.values["preference_strength"]
    ]
    found = loaded(records, len(rows), len(rows) - len(records), assigned.rule)
    if not found.train or not found.validation:
        raise DataError(
            f"{source.path or source.hub_id}: {len(found.train)} pairs to train on and {len(found.validation)} to "
            f"validate with, of {len(rows)} rows split by {assigned.rule}; both are needed: mend the column split, or "
            "add rows"
        )
    return found


def preference_files(names: list[str]) -> list[str]:
    """The files of the folder `preference`, or else all but those of `disagreements`."""
    others = set(below("disagreements", names))
    return below("preference", names) or [name for name in names if name not in others]


def _preference(row: Row, identity: str, split: Split) -> Preference:
    strength = row.values["preference_strength"]
    first, second = row.values["response_1"], row.values["response_2"]
    chosen, rejected = (first, second) if strength < 0 else (second, first)
    return Preference(row.values["prompt"], chosen, rejected, abs(strength), identity, split)

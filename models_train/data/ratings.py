"""Rated responses of HelpSteer2's columns (definitions, Section 9)."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from models_train.data.columns import Column, filled_text, marked_prompt, text, whole_number
from models_train.data.problems import DataError
from models_train.data.records import ATTRIBUTES, Loaded, Rating, prompt_id
from models_train.data.sources import below, read_rows
from models_train.data.splits import assign, loaded
from models_train.study.training import DataSource

COLUMNS = {
    "prompt": Column(marked_prompt),
    "response": Column(filled_text),
    **{name: Column(whole_number(0, 4)) for name in ATTRIBUTES},
    "split": Column(text, is_optional=True),
}


def load_ratings(source: DataSource, study_folder: Path, held_out: Set[str] = frozenset()) -> Loaded[Rating]:
    """The rated responses of a data set, in the order of its rows.

    Splits are by prompt (`splits.assign`); training rows of validation prompts are dropped and counted. held_out:
    ids of further prompts that nothing may be trained on, such as the validation prompts of the preferences, which
    both objectives are chosen by.

    Raises DataError for rows that cannot be used, and where nothing is left to train on.
    """
    rows = list(read_rows(source, study_folder, COLUMNS, rating_files))
    ids = [prompt_id(row.values["prompt"]) for row in rows]
    assigned = assign(rows, ids)
    records = [
        Rating(values["prompt"], values["response"], _attributes(values), one, split)
        for values, one, split in zip((row.values for row in rows), ids, assigned.splits, strict=True)
    ]
    found = loaded(records, len(rows), 0, assigned.rule, held_out)
    if not found.train:
        raise DataError(
            f"{source.path or source.hub_id}: none of its {len(rows)} rows is left to train on "
            f"(split by {assigned.rule}); add rows of other prompts, or mend the column split"
        )
    return found


def rating_files(names: list[str]) -> list[str]:
    """All files but those of the folders `preference` and `disagreements`, which hold other columns."""
    others = {*below("preference", names), *below("disagreements", names)}
    return [name for name in names if name not in others]


def _attributes(values: dict[str, int]) -> tuple[int, int, int, int, int]:
    helpfulness, correctness, coherence, complexity, verbosity = (values[name] for name in ATTRIBUTES)
    return helpfulness, correctness, coherence, complexity, verbosity

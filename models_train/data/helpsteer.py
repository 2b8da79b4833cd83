"""Preferences and ratings of a study, split by prompt (definitions, Section 9)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import TypeVar

from models_train.data.forms import PREFERENCES, RATINGS
from models_train.data.records import ATTRIBUTES, Loaded, Preference, Rating, Split, prompt_id
from models_train.data.rows import Row
from models_train.data.sources import END_OF_WORD, DataSet, below, open_data
from models_train.errors import Problems, UserError
from models_train.study.training import DataSource

VALIDATION_SHARE = 0.05
"""Share of the prompts held out for validation where the data name no split."""

OTHER_COLUMNS = ("disagreements", "red-team-attempts")
"""Folders of HelpSteer2's and HH-RLHF's repositories that hold no preferences."""
_SPLIT_NAME = re.compile(
    rf"(?:(?P<train>train)|val|valid|validation|dev|test|eval)(?P<prefs>_prefs)?{END_OF_WORD}", re.IGNORECASE
)
"""Names of files and folders of a split; UltraFeedback's binarized pairs are in train_prefs and test_prefs."""

SplitRecord = TypeVar("SplitRecord", Preference, Rating)


def load_preferences(source: DataSource, study_folder: Path) -> Loaded[Preference]:
    """The preference pairs of a data set (`forms`), in the order of its rows.

    Ties, which have strength 0 or equal responses, are left out and counted. Splits are by prompt (`assign_splits`); a
    prompt of both splits is a validation prompt, and its training rows are dropped and counted. Of a repository such as
    HelpSteer2's, the files in the folder `preference` are read.

    Raises UserError for rows that cannot be used, and where nothing is left to train on or to validate with.
    """
    data = open_data(source, study_folder, preference_files)
    rows, left_out = _usable(data.rows(PREFERENCES))
    ids = [prompt_id(row.values["prompt"]) for row in rows]
    splits, rule = assign_splits(rows, ids)
    records = [
        (row.name, _preference(row, one, split))
        for row, one, split in zip(rows, ids, splits, strict=True)
        if row.values["strength"]
    ]
    loaded = _loaded(data, splits, records, rule, left_out)
    if not loaded.train or not loaded.validation:
        raise UserError(
            f"{data.source.label}: {len(loaded.train)} pairs to train on and {len(loaded.validation)} to validate "
            f"with, of {loaded.n_rows} rows split by {rule}{loaded.losses}; both are needed: correct the column split, "
            "or add rows"
        )
    return loaded


def load_ratings(source: DataSource, study_folder: Path, held_out: Set[str] = frozenset()) -> Loaded[Rating]:
    """The rated responses of a data set, in the order of its rows.

    Splits are by prompt (`assign_splits`); training rows of validation prompts are dropped and counted. held_out:
    ids of further prompts to keep out of training, such as the validation prompts of the preferences, which select
    the checkpoints of both objectives. Where the data state no split, these validate, too.

    Raises UserError for rows that cannot be used, and where nothing is left to train on.
    """
    data = open_data(source, study_folder, rating_files)
    rows, left_out = _usable(data.rows(RATINGS))
    ids = [prompt_id(row.values["prompt"]) for row in rows]
    splits, rule = assign_splits(rows, ids)
    if rule == "prompt hash":
        splits = ["validation" if one in held_out else split for one, split in zip(ids, splits, strict=True)]
    records = [(row.name, _rating(row, one, split)) for row, one, split in zip(rows, ids, splits, strict=True)]
    loaded = _loaded(data, splits, records, rule, left_out, held_out)
    if not loaded.train:
        raise UserError(
            f"{data.source.label}: none of its {loaded.n_rows} rows is left to train on, split by {rule}"
            f"{loaded.losses}; add rows of other prompts, or correct the column split"
        )
    return loaded


def preference_files(names: list[str]) -> list[str]:
    """The files of the folder `preference` or of the splits `..._prefs`, or else all but those of OTHER_COLUMNS."""
    others = {name for folder in OTHER_COLUMNS for name in below(folder, names)}
    matches = {name: _SPLIT_NAME.match(name.rsplit("/", 1)[-1]) for name in names}
    pairs = [name for name, match in matches.items() if match and match["prefs"]]
    return below("preference", names) or pairs or [name for name in names if name not in others]


def rating_files(names: list[str]) -> list[str]:
    """All files but those of the folders `preference` and `disagreements`, which hold other columns."""
    others = {*below("preference", names), *below("disagreements", names)}
    return [name for name in names if name not in others]


def assign_splits(rows: Sequence[Row], prompt_ids: Sequence[str]) -> tuple[list[Split], str]:
    """The split of each row, and the rule that gave it; a prompt may still lie in both splits.

    In this order: the rows' column `split` (`forms.SPLITS`); the names of files or of their folders in the data set,
    where some are train and some val, valid, validation, dev, test or eval, as whole words (files of other names
    train); else the 5 % of the prompts, at least one, with the smallest SHA-256 of their id. Raises UserError where
    only some rows have a `split`.
    """
    stated = [row.values["split"] for row in rows]
    if any(stated):
        _refuse_gaps(rows)
        return stated, "column split"
    named = {name: split_of_name(name) for name in {row.name for row in rows}}
    if {"train", "validation"} <= set(named.values()):
        return [named[row.name] or "train" for row in rows], "file names"
    held_out = _smallest(set(prompt_ids))
    return ["validation" if one in held_out else "train" for one in prompt_ids], "prompt hash"


def _usable(rows: Iterable[Row]) -> tuple[list[Row], Counter[str]]:
    """The rows that can be used, and the others counted by reason."""
    usable, left_out = [], Counter[str]()
    for row in rows:
        if row.left_out is None:
            usable.append(row)
        else:
            left_out[row.left_out] += 1
    return usable, left_out


def _loaded(
    data: DataSet,
    splits: Sequence[Split],
    of_files: Sequence[tuple[str, SplitRecord]],
    rule: str,
    left_out: Counter[str],
    held_out: Set[str] = frozenset(),
) -> Loaded[SplitRecord]:
    """The records without repeated ones and without training rows of validation prompts.

    splits: of the usable rows. of_files: the file and the record of each that is no tie. held_out: further prompts not
    to be trained on.
    """
    n_rows, n_train_rows = len(splits), splits.count("train")
    once = _without_repeats(of_files)
    validating = held_out | {record.prompt_id for record in once if record.split == "validation"}
    dropped = [record for record in once if record.split == "train" and record.prompt_id in validating]
    kept = tuple(record for record in once if record.split == "validation" or record.prompt_id not in validating)
    n_ties = n_train_rows - _n_train(record for _, record in of_files)
    return Loaded(
        kept,
        n_rows=n_rows + left_out.total(),
        n_ties_left_out=n_rows - len(of_files),
        n_prompts_in_both_splits=len({record.prompt_id for record in dropped}),
        split_rule=rule,
        n_repeated=len(of_files) - len(once),
        n_repeated_kept=len(kept) - len(set(kept)),
        left_out=dict(left_out),
        n_train_rows=n_train_rows + left_out.total(),
        train_losses={
            "tie": n_ties,
            "repeated": n_train_rows - n_ties - _n_train(once),
            "split": len(dropped),
            "bad": left_out.total(),
        },
        source=data.description,
        validation_files=tuple(name for name in data.names if split_of_name(name) == "validation"),
    )


def _n_train(records: Iterable[SplitRecord]) -> int:
    return sum(record.split == "train" for record in records)


def _without_repeats(of_files: Sequence[tuple[str, SplitRecord]]) -> list[SplitRecord]:
    """The records that count.

    A pair counts once, and so does a row that lies in several files: copies of data are often left beside them. Equal
    ratings of one file stay, since two raters may agree.
    """
    times = Counter[tuple[str, SplitRecord]]()
    found: dict[tuple[SplitRecord, int], None] = {}
    for file, record in of_files:
        times[file, record] += 1
        found[record, times[file, record] if isinstance(record, Rating) else 1] = None
    return [record for record, _ in found]


def _preference(row: Row, identity: str, split: Split) -> Preference:
    values = row.values
    return Preference(values["prompt"], values["chosen"], values["rejected"], values["strength"], identity, split)


def _rating(row: Row, identity: str, split: Split) -> Rating:
    helpfulness, correctness, coherence, complexity, verbosity = (row.values[name] for name in ATTRIBUTES)
    attributes = (helpfulness, correctness, coherence, complexity, verbosity)
    return Rating(row.values["prompt"], row.values["response"], attributes, identity, split)


def split_of_name(name: str) -> Split | None:
    """The split that a file's name in its data set tells: by its last step that names one."""
    for step in reversed(name.split("/")):
        if found := _SPLIT_NAME.match(step):
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

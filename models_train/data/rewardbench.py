"""Test pairs of RewardBench's columns (definitions, Section 1)."""

from __future__ import annotations

import re
from pathlib import Path

from models_train.data.forms import TEST_PAIRS
from models_train.data.records import TestPair
from models_train.data.sources import END_OF_WORD, below, open_data
from models_train.errors import Problems, UserError
from models_train.study.training import DataSource


def load_test_pairs(source: DataSource, study_folder: Path) -> tuple[TestPair, ...]:
    """The pairs of a test set, in the order of its rows; of RewardBench's repository the split `filtered`.

    A prompt is plain text or a list of turns, a completion text or messages. A completion may be empty: the test set
    has such, and the item gets a status when it is scored. Raises UserError for rows that cannot be used, an id that a
    subset has twice, and where there is no row.
    """
    pairs: dict[tuple[str, str], TestPair] = {}
    first: dict[tuple[str, str], str] = {}
    problems: dict[str, Problems] = {}
    for row in open_data(source, study_folder, filtered_files).rows(TEST_PAIRS):
        values = row.values
        key = values["subset"], values["id"]
        if key in first:
            here = problems.setdefault(row.file, Problems(row.file))
            here.add(f"the subset {key[0]} has {key[1]!r} already in {first[key]}; keep one", row.number, "id")
            continue
        first[key] = f"row {row.number} of {row.file}"
        pairs[key] = TestPair(values["prompt"], values["chosen"], values["rejected"], *key)
    for one in problems.values():
        one.raise_any()
    if not pairs:
        raise UserError(f"{source.path or source.hub_id}: holds no row; give a test set of RewardBench's columns")
    return tuple(pairs.values())


def filtered_files(names: list[str]) -> list[str]:
    """Files of the split `filtered` by their names, or that lie in a folder of that name, or else all."""
    named = [name for name in names if re.match(rf"filtered{END_OF_WORD}", name.rsplit("/", 1)[-1])]
    return sorted({*named, *below("filtered", names)}) or names

"""Test pairs of RewardBench's columns (definitions, Section 1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_train.data.records import TestPair
from models_train.data.rows import Column, filled_text, plain_or_turns, text
from models_train.data.sources import below, read_rows
from models_train.errors import Problems, UserError
from models_train.study.settings import shown
from models_train.study.training import DataSource


def item_id(value: Any) -> str:
    """Numbers of the hub's rows and names of other files alike, as text."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
        raise UserError(f"{shown(value)} is neither a whole number nor a name; give the item its id")
    return text(str(value))


COLUMNS = {
    "prompt": Column(plain_or_turns),
    "chosen": Column(text),
    "rejected": Column(text),
    "subset": Column(filled_text),
    "id": Column(item_id),
}


def load_test_pairs(source: DataSource, study_folder: Path) -> tuple[TestPair, ...]:
    """The pairs of a test set, in the order of its rows; of RewardBench's repository the split `filtered`.

    A prompt is plain text or a list of turns. A completion may be empty: the test set has such, and the item gets a
    status when it is scored. Raises UserError for rows that cannot be used, an id that a subset has
    twice, and where there is no row.
    """
    pairs: dict[tuple[str, str], TestPair] = {}
    first: dict[tuple[str, str], str] = {}
    problems: dict[str, Problems] = {}
    for row in read_rows(source, study_folder, COLUMNS, filtered_files):
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
    """Files whose name begins with `filtered` or that lie in a folder of that name, or else all."""
    named = [name for name in names if name.rsplit("/", 1)[-1].startswith("filtered")]
    return sorted({*named, *below("filtered", names)}) or names

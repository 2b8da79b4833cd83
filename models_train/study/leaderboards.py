"""Settings of leaderboards of reward models, whose entries are imported to see what they are built on. Torch-free."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from models_train.study.settings import Name, Settings, Text

LeaderboardFormat = Literal["rewardbench", "rewardbench2", "csv", "rm_bench"]


def _date(value: Any) -> Any:
    """YAML reads 2024-12-01 as a date; in quotes it is text."""
    text = value.isoformat() if isinstance(value, date) and not isinstance(value, datetime) else value
    try:
        if not isinstance(text, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError
        date.fromisoformat(text)
    except ValueError:
        raise PydanticCustomError("date", "is not a date; write it like 2024-12-01") from None
    return text


SnapshotDate = Annotated[str, BeforeValidator(_date), WithJsonSchema({"type": "string", "format": "date"})]


class LeaderboardImport(Settings):
    """A leaderboard on one day."""

    name: Name
    """Name of the leaderboard in tables and charts."""
    path: Text
    """A file, or for `rewardbench` and `rewardbench2` a folder, which is searched with all folders in it."""
    format: LeaderboardFormat
    """`rewardbench`, `rewardbench2`: result files of reward-bench, `eval-set/<org>/<model>.json`. `csv`: the table of a
    leaderboard with a column of models and one of scores in percent. `rm_bench`: the README of RM-Bench's
    leaderboard."""
    snapshot_date: SnapshotDate
    """Day of the snapshot, such as 2024-12-01: the files do not state it."""


def _each_once(boards: tuple[LeaderboardImport, ...]) -> tuple[LeaderboardImport, ...]:
    keys = [(board.name.casefold(), board.snapshot_date) for board in boards]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            text = "lists {name} of {day} twice; keep one, or give them two names"
            values = {"name": boards[index].name, "day": boards[index].snapshot_date}
            raise PydanticCustomError("leaderboards", text, values)
    return boards


EachOnce = AfterValidator(_each_once)
"""A list of leaderboards without one of the same name and day."""

"""What each seed file must hold: its columns, their ranges and its keys, as a table of rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "integer"]


@dataclass(frozen=True)
class Column:
    """Rule for one column: `low` and `high` inclusive, `above` exclusive, empty only where `optional`."""

    name: str
    kind: Kind = "text"
    optional: bool = False
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None
    example: str = ""


@dataclass(frozen=True)
class Key:
    """Columns that no two rows may share, and the words a message names them by."""

    columns: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Seed:
    """Rules for one seed file. With `has_score`, its score is the mean of the four categories."""

    columns: tuple[Column, ...]
    keys: tuple[Key, ...]
    has_score: bool = False
    lists_every_compared_model: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)


CATEGORIES = ("chat", "chat_hard", "safety", "reasoning")
"""The four categories of RewardBench; the score is their mean (definitions, Section 1)."""

SCORE_TOLERANCE = 0.06
"""How far, in points, a printed score may be from the mean of its four printed categories.

All five are rounded to 0.1. In the worst case the mean of the categories is off by 0.05 and the score by 0.05, 0.10
together. 0.06 is this project's choice: the published tables stay within it, and it finds more misprints than 0.10.
"""

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def _percent(name: str) -> Column:
    return Column(name, "number", low=0, high=100)


def _change(name: str) -> Column:
    return Column(f"{name}_delta_pct", "number", optional=True)


_MODEL = Key(("model_id",), "model")
_RESULTS = Seed(
    (Column("model_id"), *(_percent(name) for name in (*CATEGORIES, "score"))),
    (_MODEL,),
    has_score=True,
    lists_every_compared_model=True,
)

SEEDS: dict[str, Seed] = {
    "table_1_post_training": Seed(
        (
            Column("model_id"),
            *(column for name in (*CATEGORIES, "score") for column in (_percent(name), _change(name))),
        ),
        (_MODEL,),
        has_score=True,
    ),
    "table_2_benchmarks": Seed(
        (
            Column("framework", choices=("lm_eval", "evalplus")),
            Column("benchmark"),
            Column("citation"),
            Column("topic"),
            Column("shots"),
            Column("model_families"),
            Column("note", optional=True),
        ),
        (Key(("benchmark",), "benchmark"),),
    ),
    "table_3_models": Seed(
        (
            Column("model_id"),
            Column("publisher"),
            Column("hub_id"),
            Column("release_month", pattern=_MONTH, example="2024-09"),
            Column("params_b", "number", above=0),
            Column("downloads", "integer", low=0),
            Column("likes", "integer", low=0),
            Column("tokens_t", "number", above=0),
        ),
        (_MODEL,),
        lists_every_compared_model=True,
    ),
    "table_4_regression": _RESULTS,
    "table_5_bradley_terry": _RESULTS,
    "rewardbench_subsets": Seed(
        (
            Column("category", choices=CATEGORIES),
            Column("subset"),
            Column("n_examples", "integer", above=0),
            Column("weight", "number", above=0),
            Column("weight_in_category", "number", above=0, high=1),
            Column("length_bias", choices=("True", "False", "Neutral")),
        ),
        (Key(("subset",), "subset"),),
    ),
    "benchmark_results": Seed(
        (
            Column("model_id"),
            Column("benchmark"),
            Column("metric"),
            _percent("value"),
            Column("shots"),
            Column("source_repo"),
            Column("source_path"),
            Column("source_commit", optional=True),
            Column("source_benchmark"),
            Column("match", choices=("exact", "close", "loose", "duplicate")),
            Column("note", optional=True),
        ),
        (
            Key(
                (
                    "model_id",
                    "benchmark",
                    "metric",
                    "source_repo",
                    "source_path",
                    "source_commit",
                    "source_benchmark",
                    "shots",
                    "note",
                ),
                "(model, benchmark, source)",
            ),
        ),
    ),
    "benchmark_metrics": Seed(
        (
            Column("benchmark"),
            Column("metric"),
            Column("priority", "integer", above=0),
            Column("remark", optional=True),
        ),
        (
            Key(("benchmark", "metric"), "(benchmark, metric)"),
            Key(("benchmark", "priority"), "(benchmark, priority)"),
        ),
    ),
}
"""Rules of every seed by name."""

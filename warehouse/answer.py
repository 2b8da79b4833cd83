"""The question answered from the published snapshot, for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from warehouse import marts
from warehouse.connection import Connection

OBJECTIVES = {"regression": "regression", "bradley_terry": "Bradley-Terry"}


def print_answer(connection: Connection, console: Console) -> None:
    """Print, per study, the best base model of each size group and objective, its gain and how sure that is."""
    for study in marts.studies(connection).iter_rows(named=True):
        label = " (synthetic)" if study["synthetic"] else ""
        table = Table(title=f"Which base model? {study['title']}{label}", title_style="bold", title_justify="left")
        for heading in (
            "size (B)",
            "objective",
            "best base model",
            "score",
            "gain over the default",
            "how sure",
        ):
            table.add_column(heading, overflow="fold", justify="right" if heading == "score" else "left")
        for row in marts.best_in_group(connection, study["study_id"]).iter_rows(named=True):
            table.add_row(*_cells(row))
        console.print(table)
        console.print(
            "Score: mean of the four RewardBench categories, in percent. Gains are in percentage points; the 95 % "
            "interval is approximate\n(binomial, from the category sizes: published tables have no item results), "
            "and each model was trained once.",
            style="dim",
            highlight=False,
        )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    gain = f"{row['gain_points']:+.1f} points ({row['gain_percent']:+.1f} %)"
    if row["is_default"]:
        gain = "is the default"
    elif row["gain_low_approximate"] is not None:
        gain += f"\n[{row['gain_low_approximate']:+.1f}, {row['gain_high_approximate']:+.1f}] over {row['default_model_id']}"
    return (
        row["size_group"],
        OBJECTIVES.get(row["objective"], row["objective"]),
        row["model_id"],
        f"{row['score']:.1f}",
        gain,
        _how_sure(row),
    )


def _how_sure(row: dict[str, Any]) -> str:
    """The runner-up, and how many others cannot be told from the best one."""
    if row["runner_up"] is None:
        return "the only model of its group"
    gap = f"{row['gap_points']:.1f} ahead of {row['runner_up']}"
    if row["n_close"] == 0:
        return f"{gap}: clear of the other {row['n_in_group'] - 1}"
    others = "1 other is" if row["n_close"] == 1 else f"{row['n_close']} others are"
    return f"{gap}; {others} within the margin of error"

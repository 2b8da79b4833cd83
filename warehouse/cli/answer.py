"""The answer in the terminal: the best base model of each size group, from the published snapshot."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from warehouse.connection import Connection
from warehouse.reports import labels, queries

LEADS = {"clear": "a clear lead", "likely": "a likely lead", "open": "too close to call"}
HOW_TO_READ = (
    "Score: mean of the four RewardBench categories, in percent. Gains are percentage points over the default base\n"
    "model of the size group (billions of parameters), with an approximate 95 % interval"
)
NO_ITEMS = ": published tables have no\nitem-level results, and each model was trained once."
NO_ANSWER = "No reward model can be compared with the default of its size group yet."


def print_answer(connection: Connection, console: Console) -> None:
    """Print, per study, the best base model of each size group and objective, its gain and how sure that is."""
    for study in queries.studies(connection).iter_rows(named=True):
        best = queries.size_group_winners(connection, study["study_id"])
        line(console)
        line(console, "Which base model should I train my reward model on?", "bold")
        line(console, study["title"] + (" (synthetic data)" if study["synthetic"] else ""), "dim")
        for objective in best["objective"].unique(maintain_order=True):
            line(console)
            line(console, labels.objective(objective), "bold")
            for row in best.filter(objective=objective).iter_rows(named=True):
                for text, style in answer_lines(row):
                    line(console, text, style)
        line(console)
        if best.is_empty():
            line(console, NO_ANSWER)
        else:
            line(console, HOW_TO_READ + (NO_ITEMS if _is_published(connection, study["study_id"]) else "."), "dim")


def _is_published(connection: Connection, study_id: str) -> bool:
    """True where the results of a study are published figures, without those of single items."""
    found = connection.execute(
        "select bool_or(basis = 'published') from marts.fct_reward_model_results where study_id = ?", [study_id]
    ).fetchone()
    return bool(found and found[0])


def answer_lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Three lines of text with their styles for one row of fct_size_group_winners."""
    indent = " " * 14
    gain = f"+{row['gain_points']:.1f} points ({row['gain_percent']:+.1f} %) over {row['default_model_id']}"
    if row["is_default"]:
        gain = "is the default itself"
    elif row["gain_low_approximate"] is not None:
        gain += f"  [{row['gain_low_approximate']:+.1f}, {row['gain_high_approximate']:+.1f}]"
    rival = "the only model of its group"
    if row["runner_up"] is not None:
        rival = f"{row['gap_points']:.1f} ahead of {row['runner_up']}: {LEADS[labels.confidence(row)[0]]}"
    return [
        (f"  {row['size_group']:<12}{row['model_id']}  {row['score']:.1f}", "green"),
        (indent + gain, ""),
        (indent + rival, ""),
    ]


def line(console: Console, text: str = "", style: str = "") -> None:
    """Print one line as it is: brackets are no markup, and nothing is highlighted or broken."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

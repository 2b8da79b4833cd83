"""The answer at a glance: the best base model per size group and objective, and how sure that is."""

from __future__ import annotations

from typing import Any

import polars as pl

from warehouse.reports import words
from warehouse.reports.charts import gains
from warehouse.reports.frames import parts
from warehouse.reports.pieces import AnswerCard, Figure, Panel, Section


def section(best: pl.DataFrame, slug: str, *, has_results: bool = False) -> Section:
    """The first section of a study, from marts.best_in_group; has_results: some result is there, compared or not."""
    rows = best.to_dicts()
    if not rows:
        text = "The study holds no results yet, so there is no answer to give."
        if has_results:
            text = (
                "No reward model can be compared with its size group's default yet, so there is no answer to give; "
                "what there is stands under “All results”."
            )
        return Section("answer", "The answer at a glance", (text,))
    return Section(
        key="answer",
        title="The answer at a glance",
        paragraphs=(words.certainty(rows),),
        answers=tuple(
            (objective, tuple(_card(row) for row in part.iter_rows(named=True)))
            for objective, part in parts(best, "objective")
        ),
        items=(_figure(best, slug),),
        headlines=headlines(rows),
    )


def headlines(rows: list[dict[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    """Per size group (in words, model, what it gains): the best over all objectives, smallest group first."""
    groups: dict[int, dict[str, Any]] = {}
    for row in rows:
        held = groups.get(row["size_group_position"])
        if held is None or row["score"] > held["score"]:
            groups[row["size_group_position"]] = row
    return tuple(
        (words.size_group(row["size_group"]), row["model_id"], _headline(row)) for _, row in sorted(groups.items())
    )


def _headline(row: dict[str, Any]) -> str:
    text = f"{words.objective(row['objective'])}, score {words.number(row['score'])}"
    if row["is_default"]:
        return f"{text}: the default itself"
    return f"{text}: {words.change(row['gain_points'], row['gain_percent'])} over {row['default_model_id']}"


def _card(row: dict[str, Any]) -> AnswerCard:
    level, verdict = words.confidence(row)
    return AnswerCard(
        size_group=words.size_group(row["size_group"]),
        model_id=row["model_id"],
        score=words.number(row["score"]),
        gain=words.gain(row),
        level=level,
        verdict=verdict,
    )


def _figure(best: pl.DataFrame, slug: str) -> Figure:
    panels, domain = [], gains.gain_range(best)
    for objective, part in parts(best, "objective"):
        winners = [
            f"{row['size_group']} {row['model_id']} {words.number(row['gain_points'], signed=True)}"
            for row in part.iter_rows(named=True)
        ]
        panels.append(
            Panel(
                title=words.objective(objective),
                label=f"Best base model per size group, gain in points, {objective}: {'; '.join(winners)}.",
                chart=gains.best_gains(part, domain),
            )
        )
    gained = best["gain_points"].to_list()
    return Figure(
        name=f"{slug}_answer",
        title="How much the best base model gains over the default",
        caption=(
            "Points are the best model's gain in score over its size group's default, in percentage points; "
            f"lines are approximate 95 % intervals. Gains run from {words.number(min(gained))} to "
            f"{words.number(max(gained))} points. n = {words.plural(best.height, 'pair')} of size group and "
            "objective."
        ),
        panels=tuple(panels),
        empty="",
        key="Best base model of each size group; lines are approximate 95 % intervals.",
        columns=2,
        panel_width=440,
    )

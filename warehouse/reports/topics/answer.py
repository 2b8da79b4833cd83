"""The answer at a glance: the best base model per size group and objective, and how certain that is."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels, queries
from warehouse.reports.elements import AnswerCard, Figure, Panel, Section, Study
from warehouse.reports.queries import parts
from warehouse.reports.topics import gains

TITLE = "The answer at a glance"


def section(study: Study) -> Section:
    """Headlines, cards and figure of the winners; where nothing can be compared, the reason."""
    best = queries.size_group_winners(study.connection, study.study_id)
    if not best.height:
        has_results = study.read("fct_reward_model_results", "model_id", "model_id").height > 0
        text = "The study holds no results yet, so there is no answer to give."
        if has_results:
            text = (
                "No reward model can be compared with its size group's default yet, so there is no answer to give; "
                "the results so far are under “All results”."
            )
        return Section("answer", TITLE, (text,))
    rows = best.to_dicts()
    return Section(
        key="answer",
        title=TITLE,
        paragraphs=(certainty(rows),),
        answers=tuple(
            (objective, tuple(_card(row) for row in part.to_dicts())) for objective, part in parts(best, "objective")
        ),
        items=(_figure(best, study),),
        headlines=headlines(rows),
    )


def headlines(rows: list[dict[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    """Per size group (its name, model, gain as text): the best over all objectives, smallest group first."""
    groups: dict[int, dict[str, Any]] = {}
    for row in rows:
        held = groups.get(row["size_group_position"])
        if held is None or row["score"] > held["score"]:
            groups[row["size_group_position"]] = row
    return tuple(
        (labels.size_group(row["size_group"]), row["model_id"], _headline(row)) for _, row in sorted(groups.items())
    )


def gain(row: dict[str, Any]) -> str:
    """The gain over the default in both units with its interval, or that the default itself is best."""
    if row["is_default"]:
        return "This is the default itself: nothing in its size group scored higher."
    text = f"{labels.change(row['gain_points'], row['gain_percent'])} over {row['default_model_id']}"
    if row["gain_low_approximate"] is None:
        return f"{text}; no interval is known."
    ends = labels.interval(row["gain_low_approximate"], row["gain_high_approximate"], signed=True)
    return f"{text}; approximate 95 % interval {ends} points."


def certainty(best: list[dict[str, Any]]) -> str:
    """One paragraph on how certain the whole answer is, from the rows of fct_size_group_winners."""
    rows = [row for row in best if row["runner_up"] is not None]
    clear = sum(labels.confidence(row)[0] == "clear" for row in rows)
    above = sum(row["gain_low_approximate"] is not None and row["gain_low_approximate"] > 0 for row in best)
    count = (
        f"In {above} of {len(best)} cases the approximate 95 % interval of the gain over the default lies above zero. "
    )
    lead = f"In {clear} of {len(rows)} cases the best model also has a clear lead over its runner-up. " if rows else ""
    if all(row["is_approximate"] for row in best):
        basis = (
            "These results come without item-level data and with one training run each. The intervals are therefore a "
            "binomial approximation from the number of test pairs per category. They account for the choice of test "
            "questions, but not for the randomness of a training run nor for the selection of the best of several "
            "models, and they treat the errors of two models as independent although both met the same questions."
        )
    else:
        basis = (
            "Standard errors are measured from the item results where there are any; the intervals of the gains are a "
            "binomial approximation. Neither accounts for the randomness of a training run nor for the selection of "
            "the best of several models."
        )
    return count + lead + basis


def best_gains(frame: pl.DataFrame, domain: charts.Range) -> alt.LayerChart:
    """Gain of the best base model of each size group with its interval; frame: winners of one objective."""
    frame = frame.with_columns(
        charts.named("size_group", labels.short_size_group, "group_text"),
        charts.named("objective", labels.objective, "objective_text"),
    ).with_columns((pl.col("group_text") + pl.lit(" · ") + pl.col("model_id")).alias("label"))
    frame = charts.ranked(frame, "label")
    tips = (
        ("objective_text:N", "Objective"),
        ("size_group:N", "Size group (billion parameters)"),
        *gains.TOOLTIP,
        ("runner_up:N", "Runner-up"),
        ("gap_points:Q", "Lead over the runner-up (points)", ".1f"),
    )
    base = charts.row_chart(frame, "label", tips)
    x = charts.across("gain_points", "Gain over the default (points)", domain, tickCount=8)
    layers = [
        charts.zero(frame),
        charts.whisker(base, "gain_low_approximate", "gain_high_approximate", "gain-line"),
        charts.dots(base, x, "best", 110),
        charts.value_at_right(base, "gain_points:Q", "+.1f", "value-strong"),
    ]
    return charts.layered(layers, 30 * frame.height)


def _headline(row: dict[str, Any]) -> str:
    text = f"{labels.objective(row['objective'])}, score {labels.number(row['score'])}"
    if row["is_default"]:
        return f"{text}: the default itself"
    return f"{text}: {labels.change(row['gain_points'], row['gain_percent'])} over {row['default_model_id']}"


def _card(row: dict[str, Any]) -> AnswerCard:
    level, verdict = labels.confidence(row)
    return AnswerCard(
        size_group=labels.size_group(row["size_group"]),
        model_id=row["model_id"],
        score=labels.number(row["score"]),
        gain=gain(row),
        level=level,
        verdict=verdict,
    )


def _figure(best: pl.DataFrame, study: Study) -> Figure:
    panels, domain = [], gains.gain_range(best)
    for objective, part in parts(best, "objective"):
        winners = [
            f"{row['size_group']} {row['model_id']} {labels.number(row['gain_points'], signed=True)}"
            for row in part.to_dicts()
        ]
        panels.append(
            Panel(
                title=labels.objective(objective),
                label=f"Best base model per size group, gain in points, {objective}: {'; '.join(winners)}.",
                chart=best_gains(part, domain),
            )
        )
    gained = best["gain_points"].to_list()
    return Figure(
        name=study.name("answer"),
        title="How much the best base model gains over the default",
        caption=(
            "Points are the best model's gain in score over its size group's default, in percentage points; "
            f"lines are approximate 95 % intervals. Gains run from {labels.number(min(gained))} to "
            f"{labels.number(max(gained))} points. n = {labels.plural(best.height, 'pair')} of size group and "
            "objective."
        ),
        panels=tuple(panels),
        key="Best base model of each size group; lines are approximate 95 % intervals.",
        columns=2,
        panel_width=440,
    )

"""Ranking and gain of every base model over the default of its size group (Figure 2 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels, queries
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_OBJECTIVE, MOST_DRAWN, parts

ROW_HEIGHT = 21
# Room at the right of the longest bar for the score, as a share of the whole range.
_SCORE_ROOM = 0.16
TOOLTIP: charts.Tooltip = (
    ("model_id:N", "Base model"),
    ("params_b:Q", "Parameters (billions)", ".2f"),
    ("score:Q", "Score (0-100)", ".1f"),
    ("gain_points:Q", "Gain (points)", "+.1f"),
    ("gain_percent:Q", "Gain (% of the default's score)", "+.1f"),
    ("gain_low:Q", "95 % interval over test questions, low", "+.1f"),
    ("gain_high:Q", "95 % interval over test questions, high", "+.1f"),
    ("gain_low_with_runs:Q", "95 % interval with training runs, low", "+.1f"),
    ("gain_high_with_runs:Q", "95 % interval with training runs, high", "+.1f"),
    ("gain_over_median_points:Q", "Gain over the group's median (points)", "+.1f"),
    ("default_model_id:N", "Default of the group"),
    ("default_score:Q", "Score of the default", ".1f"),
)


def section(study: Study) -> Section:
    """One figure per objective, one panel per size group."""
    frame = size_group_gains(study)
    text = (
        "How much better or worse does a reward model get if only the base model is changed? Models are compared "
        "within their size group, separately for each training objective."
    )
    if not frame.height:
        text = "The study holds no results that could be compared with a default, so there is no ranking."
    elif weak := queries.near_chance_defaults(study.connection, study.study_id).to_dicts():
        basis = study.basis
        text += f" {labels.near_chance_defaults(weak, basis)} Gains over the median of the group are in the tooltips."
    figures = tuple(_figure(part, objective, study) for objective, part in parts(frame, "objective"))
    return Section("gains", "Ranking and gain per size group", (text,), items=figures)


def size_group_gains(study: Study) -> pl.DataFrame:
    """One row per objective and model with a score, best first within its size group."""
    return study.read(
        "fct_size_group_gains",
        "objective, size_group, size_group_position, model_id, params_b, default_model_id, is_default, score, "
        "is_near_chance, default_score, is_default_near_chance, group_median_score, gain_points, gain_percent, "
        "gain_over_median_points, gain_low, gain_high, gain_low_with_runs, gain_high_with_runs, rank_in_group, "
        "n_in_group, rank_in_group = 1 as is_best",
        f"{BY_OBJECTIVE}, size_group_position, score desc, model_id",
    )


def gain_range(frame: pl.DataFrame) -> charts.Range:
    """One x range (points) for all panels of an objective, whiskers included: panels compare by eye."""
    columns = ("gain_points", "gain_low_with_runs", "gain_high_with_runs")
    values = [value for column in columns for value in frame[column].to_list()]
    low, high = charts.padded([0.0, *values], 0.03, 0.5)
    return low, high + (high - low) * _SCORE_ROOM


def gain_bars(frame: pl.DataFrame, domain: charts.Range) -> alt.LayerChart:
    """Bars of gain_points, best first, for one objective and size group; frame: rows of fct_size_group_gains.

    The default is at zero with a diamond; whiskers are the 95 % interval over test questions and training runs; the
    score is at the right.
    """
    frame = charts.ranked(frame, "model_id").with_columns(
        pl.when("is_default")
        .then(pl.lit("default"))
        .when(pl.col("gain_points") < 0)
        .then(pl.lit("loss"))
        .when("is_best")
        .then(pl.lit("best"))
        .otherwise(pl.lit("gain"))
        .alias("kind"),
        pl.when("is_default").then(pl.lit("yes")).otherwise(pl.lit("no")).alias("default_text"),
    )
    base = charts.row_chart(frame, "model_id", TOOLTIP, alt.Axis(style="aligned-axis"))
    x = charts.across("gain_points", "Gain over the default (points)", domain, tickCount=8)
    default = base.transform_filter("datum.is_default")
    diamond = default.mark_point(style="default-mark", shape="diamond", size=90, filled=True, opacity=1)
    layers = [
        *charts.bars(base, x, {f"datum.kind === '{kind}'": kind for kind in ("best", "gain", "loss")}),
        charts.zero(frame),
        charts.whisker(base, "gain_low_with_runs", "gain_high_with_runs"),
        diamond.encode(x=x),
        default.mark_text(style="note", align="left", dx=9, text="default").encode(x=x),
        charts.value_at_right(base, "score:Q", ".1f"),
    ]
    return charts.layered(layers, ROW_HEIGHT * frame.height)


def _figure(part: pl.DataFrame, objective: str, study: Study) -> Figure:
    domain, panels = gain_range(part), []
    basis = study.basis
    for group, rows in parts(part, "size_group"):
        best = rows.row(0, named=True)
        drawn = rows.filter((pl.col("rank_in_group") <= MOST_DRAWN) | pl.col("is_default"))
        panels.append(
            Panel(
                title=f"{labels.size_group(group)} (n = {rows.height})",
                label=(
                    f"Bar chart: gain in score over {best['default_model_id']} for {rows.height} base models of size "
                    f"group {group}, {labels.objective(objective)}. Best: {best['model_id']}, "
                    f"{labels.number(best['gain_points'], signed=True)} points, score {labels.number(best['score'])}."
                ),
                chart=gain_bars(drawn, domain),
            )
        )
    which = ""
    if part["n_in_group"].max() > MOST_DRAWN:  # type: ignore[operator]
        which = (
            f" Of a larger group the {MOST_DRAWN} highest scores and the default are drawn; all are in the table "
            "fct_size_group_gains."
        )
    return Figure(
        name=study.name("gains", objective),
        title=f"{labels.objective(objective)}: gain over the default of the size group",
        caption=(
            f"Each bar is a base model's {labels.reward_benchmark(basis.benchmark)} score minus that of its size "
            "group's default (diamond), in percentage points; dark blue is the group's best, orange is worse than the "
            "default. Thin lines are 95 % intervals over test questions and training runs: models whose lines overlap "
            f"widely are not ranked by their bars. The number at the right is the score (0-100; {basis.by_chance}). "
            f"n = {labels.plural(part.height, 'model')}; as Figure 2 of the paper, whose text calls these points "
            f"percent.{which}"
        ),
        panels=tuple(panels),
        key="Diamond: the default; lines: 95 % intervals with training runs; number at the right: score",
        panel_width=620,
    )

"""What each post-training stage changes (Table 1 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import by_rank, ranked


def stage_steps(frame: pl.DataFrame) -> alt.LayerChart:
    """One category: a line from the preceding stage's accuracy (hollow) to the model's own (filled).

    frame: rows of marts.post_training_stages of one objective and category. The base is the upright line;
    the figure at the right is the change from the base in points and in percent of the base.
    """
    frame = ranked(frame, "model_id").with_columns(
        pl.col("category").replace(words.TARGETS).alias("category_text"),
        pl.col("stage").map_elements(words.stage, return_dtype=pl.String).alias("stage_text"),
        pl.struct("change_points", "change_percent").map_elements(_change, return_dtype=pl.String).alias("text"),
        (pl.col("change_from_parent_points") < 0).alias("is_loss"),
        pl.col("parent_model_id").is_null().alias("is_base"),
    )
    low = frame.select(pl.min_horizontal("value", "parent_value").min()).item()
    high = frame.select(pl.max_horizontal("value", "parent_value").max()).item()
    room = max(high - low, 4.0)
    scale = alt.Scale(domain=[low - 0.08 * room, high + 1.05 * room], nice=False, zero=False)
    x = alt.X("value:Q", title="Accuracy (percent)", scale=scale, axis=alt.Axis(tickCount=5))
    base = alt.Chart(frame).encode(y=alt.Y("model_id:N", sort=by_rank(), title=None), tooltip=_tooltip())
    start = base.transform_filter("datum.is_base")
    layers = [alt.Chart(frame.head(1)).mark_rule(style="chance").encode(x=alt.X("base_value:Q"))]
    for condition, line, mark in (
        ("!datum.is_base && !datum.is_loss", "gain-line", "strong-gain"),
        ("!datum.is_base && datum.is_loss", "loss-line", "strong-loss"),
    ):
        part = base.transform_filter(condition)
        layers.append(part.mark_rule(style=line).encode(x=alt.X("parent_value:Q"), x2="value:Q"))
        layers.append(
            part.mark_point(style="hollow", size=44, filled=True, opacity=1).encode(x=alt.X("parent_value:Q"))
        )
        layers.append(part.mark_point(style=mark, filled=True, size=70, opacity=1).encode(x=x))
    layers.append(start.mark_point(style="estimate", filled=True, size=70, opacity=1).encode(x=x))
    layers.append(
        base.mark_text(style="value", align="right", dx=-3).encode(x=alt.XValue("width"), text=alt.Text("text:N"))
    )
    return alt.LayerChart(layer=[*layers]).properties(height=26 * frame.height)


def _change(row: dict[str, float | None]) -> str:
    if row["change_points"] is None:
        return "base"
    points, percent = (words.number(row[name], signed=True) for name in ("change_points", "change_percent"))
    return f"{points} ({percent} %)"


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model_id:N", title="Model"),
        alt.Tooltip("stage_text:N", title="Last stage"),
        alt.Tooltip("category_text:N", title="Accuracy on"),
        alt.Tooltip("value:Q", title="Accuracy (percent)", format=".1f"),
        alt.Tooltip("change_points:Q", title="Change from the base (points)", format="+.1f"),
        alt.Tooltip("change_percent:Q", title="Change from the base (%)", format="+.1f"),
        alt.Tooltip("parent_model_id:N", title="Preceding stage"),
        alt.Tooltip("change_from_parent_points:Q", title="Change from the preceding stage (points)", format="+.1f"),
        alt.Tooltip("change_from_parent_percent:Q", title="Change from the preceding stage (%)", format="+.1f"),
    ]

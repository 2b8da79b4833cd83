"""What models make of documents: distributions of scores, distances, bits per byte (Figures 7 and 8 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import words
from warehouse.reports.frames import by_rank, ranked

ROW_HEIGHT = 26
CELL_HEIGHT = 22
MOST_FIGURES = 16
"""With more models than this the cells of the heat map are too small for figures."""


def density_lines(frame: pl.DataFrame) -> alt.LayerChart:
    """One line of steps per model in a row of its own: the density of its scores; the dot is the median.

    frame: rows of document_marts.distributions of one domain. All rows share the scale of the score and of the density.
    """
    # A line stays within its row: up from the bottom of the row by at most nine tenths of its height.
    top, scores = max([*frame["density"], 1e-12]), frame["bin_low"].to_list()
    offset = ROW_HEIGHT * (0.45 - 0.9 * pl.col("density") / top)
    # Thousands of rows: only what is drawn, in as many digits as a pixel shows.
    frame = ranked(frame, "model_id").select(
        "row_position", "model_id", "n_documents", "is_median",
        *(pl.col(name).round(4) for name in ("bin_low", "bin_high", "share")), offset.round(2).alias("offset"),
    )  # fmt: skip
    base = alt.Chart(frame).encode(
        x=alt.X(
            "bin_low:Q",
            title="Presence score",
            scale=alt.Scale(domain=[min(scores), max(scores)], nice=False, zero=False),
            axis=alt.Axis(tickCount=6),
        ),
        y=alt.Y("model_id:N", sort=by_rank(), title=None, axis=alt.Axis(grid=True)),
        tooltip=_density_tooltip(),
    )
    shift = alt.YOffset("offset:Q", scale=alt.Scale(domain=[-ROW_HEIGHT / 2, ROW_HEIGHT / 2], range=[0, ROW_HEIGHT]))
    lines = base.mark_line(style="density", interpolate="step-after").encode(
        yOffset=shift, detail="model_id:N", order="bin_low:Q"
    )
    medians = base.transform_filter("datum.is_median").mark_point(
        style="best", filled=True, size=34, opacity=1, yOffset=0.45 * ROW_HEIGHT
    )
    return alt.LayerChart(layer=[lines, medians]).properties(height=ROW_HEIGHT * frame["model_id"].n_unique())


def distance_map(frame: pl.DataFrame) -> alt.LayerChart:
    """Model x model, colour and figure = distance; a ring marks a pair that chance alone would explain.

    frame: rows of document_marts.distances of one domain. Both halves are drawn; the diagonal is left empty.
    """
    top = max(0.1, *frame["distance"].to_list())
    frame = frame.with_columns(pl.col(pl.Float64).round(4))
    whole = pl.concat([frame, frame.rename({"model_a": "model_b", "model_b": "model_a"}).select(frame.columns)])
    names = sorted(set(whole["model_a"]))
    figure = pl.col("distance").map_elements(_two_digits, return_dtype=pl.String)
    whole = ranked(whole.sort("model_a", "model_b"), "model_a").with_columns(
        (figure if len(names) <= MOST_FIGURES else pl.lit(""))
        .add(pl.when("is_flagged").then(pl.lit("°")).otherwise(pl.lit("")))
        .alias("text"),
        (pl.col("distance") >= 0.78 * top).alias("is_strong"),
        (pl.col("distance_low") <= 0).alias("is_chance"),
        pl.when("is_flagged").then(pl.lit("yes")).otherwise(pl.lit("no")).alias("flag_text"),
    )
    places = {name: place for place, name in enumerate(names)}
    whole = whole.with_columns(pl.col("model_b").replace_strict(places, return_dtype=pl.Int32).alias("column_position"))
    across = alt.EncodingSortField(field="column_position", op="min", order="ascending")
    base = alt.Chart(whole).encode(
        x=alt.X("model_b:N", sort=across, title=None, axis=alt.Axis(orient="top", labelAngle=-90, domain=False)),
        y=alt.Y("model_a:N", sort=by_rank(), title=None),
        tooltip=_distance_tooltip(),
    )
    cells = base.mark_rect(style="cell").encode(
        color=alt.Color(
            "distance:Q",
            title="Jensen-Shannon distance",
            scale=alt.Scale(domain=[0, top], range="ramp", interpolate="rgb"),
            legend=alt.Legend(orient="bottom", gradientLength=160, format=".2f", gradientThickness=10),
        )
    )
    rings = base.transform_filter("datum.is_chance").mark_point(style="chance-ring", shape="circle", size=150)
    texts = [
        base.transform_filter(condition).mark_text(style=style).encode(text="text:N")
        for condition, style in (("datum.is_strong", "cell-strong-thin"), ("!datum.is_strong", "cell-weak-thin"))
    ]
    return alt.LayerChart(layer=[cells, rings, *texts]).properties(height=CELL_HEIGHT * len(names))


def bits_range(frame: pl.DataFrame) -> tuple[float, float]:
    """One x range (bits per byte) for the panels of all domains."""
    values = frame["mean_bits_per_byte"].drop_nulls().to_list() or [0.0, 1.0]
    pad = 0.06 * max(max(values) - min(values), 0.1)
    return max(0.0, min(values) - pad), max(values) + 4 * pad


def bits_dots(frame: pl.DataFrame, domain: tuple[float, float]) -> alt.LayerChart:
    """Mean bits per byte of each model with its 95 % interval, in the frame's order; smaller is better predicted.

    frame: rows of document_marts.presence_by_domain of one domain.
    """
    margin = 1.959964 * pl.col("standard_error_bits_per_byte")
    frame = ranked(frame.filter(pl.col("mean_bits_per_byte").is_not_null()), "model_id").with_columns(
        (pl.col("mean_bits_per_byte") - margin).alias("low"), (pl.col("mean_bits_per_byte") + margin).alias("high")
    )
    base = alt.Chart(frame).encode(y=alt.Y("model_id:N", sort=by_rank(), title=None), tooltip=_bits_tooltip())
    x = alt.X(
        "mean_bits_per_byte:Q",
        title="Bits per byte",
        scale=alt.Scale(domain=list(domain), nice=False, zero=False),
        axis=alt.Axis(tickCount=6),
    )
    layers = [
        base.transform_filter("isValid(datum.low)")
        .mark_rule(style="whisker")
        .encode(x=alt.X("low:Q", scale=alt.Scale(domain=list(domain), nice=False, zero=False)), x2="high:Q"),
        base.mark_point(style="best", filled=True, size=70, opacity=1).encode(x=x),
        base.mark_text(style="value", align="right", dx=-3).encode(
            x=alt.XValue("width"), text=alt.Text("mean_bits_per_byte:Q", format=".2f")
        ),
    ]
    return alt.LayerChart(layer=layers).properties(height=22 * max(frame.height, 1))


def _two_digits(value: float) -> str:
    return words.number(value, 2)


def _density_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model_id:N", title="Base model"),
        alt.Tooltip("bin_low:Q", title="Presence score from", format=".2f"),
        alt.Tooltip("bin_high:Q", title="to", format=".2f"),
        alt.Tooltip("share:Q", title="Share of the documents", format=".1%"),
        alt.Tooltip("n_documents:Q", title="Documents", format=","),
    ]


def _distance_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model_a:N", title="Base model"),
        alt.Tooltip("model_b:N", title="Against"),
        alt.Tooltip("distance:Q", title="Distance", format=".3f"),
        alt.Tooltip("null_floor:Q", title="Null floor (chance alone)", format=".3f"),
        alt.Tooltip("distance_low:Q", title="95 % interval without bias, low", format=".3f"),
        alt.Tooltip("distance_high:Q", title="95 % interval without bias, high", format=".3f"),
        alt.Tooltip("wasserstein_1:Q", title="Wasserstein-1", format=".3f"),
        alt.Tooltip("spearman:Q", title="Spearman, document by document", format="+.2f"),
        alt.Tooltip("n_shared:Q", title="Documents of both", format=","),
        alt.Tooltip("flag_text:N", title="Fewer than 10,000 documents"),
    ]


def _bits_tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("model_id:N", title="Base model"),
        alt.Tooltip("mean_bits_per_byte:Q", title="Bits per byte, mean of documents", format=".3f"),
        alt.Tooltip("standard_error_bits_per_byte:Q", title="Its standard error", format=".3f"),
        alt.Tooltip("total_bits_per_byte:Q", title="Bits per byte of the whole text", format=".3f"),
        alt.Tooltip("mean_presence_score:Q", title="Mean presence score", format=".3f"),
        alt.Tooltip("n_documents:Q", title="Documents", format=","),
        alt.Tooltip("n_errors:Q", title="Not scored", format=","),
    ]

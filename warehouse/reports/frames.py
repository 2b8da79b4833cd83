"""Small things that sections and charts do with a frame."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import polars as pl


def parts(frame: pl.DataFrame, column: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """(value, its rows) for every value of a text column, in the frame's own order."""
    for (value,), part in frame.group_by(column, maintain_order=True):
        yield str(value), part


def ranked(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """frame with `row_position`, the place of each value of column in the frame's own order, from 0."""
    places = {name: place for place, name in enumerate(frame[column].unique(maintain_order=True))}
    return frame.with_columns(pl.col(column).replace_strict(places, return_dtype=pl.Int32).alias("row_position"))


def by_rank() -> alt.EncodingSortField:
    """The sort of an axis over the rows of `ranked`.

    Not a list of names: Vega-Lite writes such a list into an expression, and text from data has no place
    in code.
    """
    return alt.EncodingSortField(field="row_position", op="min", order="ascending")

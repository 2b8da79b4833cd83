"""Capability components: how few dimensions the benchmarks span (Figures 12 and 13 of the paper)."""

from __future__ import annotations

import polars as pl

from warehouse.reports import words
from warehouse.reports.charts import components as charts
from warehouse.reports.evidence import PAPER
from warehouse.reports.pieces import Figure, Panel, Section

SHOWN = 5
"""Components of the heat map, as in the paper."""
SHOWN_SHARES = 12
PAPER_SHARE_OF_FIVE = "96.8 %"


def section(frame: pl.DataFrame, slug: str, source: str) -> Section:
    """Explained variance and loadings from performance_marts.components."""
    title = "What the benchmarks have in common"
    if not frame.height:
        text = "There are no capability components for this study: too few benchmarks have values for enough models."
        if not frame.columns:
            text = "There are no capability components for this study: none have been computed in this warehouse."
        return Section("components", title, (text,))
    shares = frame.unique("component", keep="first", maintain_order=True)
    return Section(
        "components",
        title,
        (_summary(shares, source),),
        items=(_variance(shares, frame, slug), _loadings(frame.filter(pl.col("component") <= SHOWN), slug)),
    )


def _summary(shares: pl.DataFrame, source: str) -> str:
    n = min(SHOWN, shares.height)
    held = _percent(shares["cumulative_ratio"][n - 1])
    first = _percent(shares["explained_variance_ratio"][0])
    text = (
        f"Principal components of the standardised table of models and benchmarks: the first alone holds {first} of "
        f"the variance, the first {n} hold {held}."
    )
    if PAPER in source and n == SHOWN:
        text += f" The paper finds about {PAPER_SHARE_OF_FIVE} for five, on its own larger set of benchmarks."
    return text


def _basis(frame: pl.DataFrame) -> str:
    row = frame.row(0, named=True)
    benchmarks = words.plural(frame["benchmark"].n_unique(), "benchmark")
    text = f"{words.plural(row['n_models'], 'model')} and {benchmarks}; {row['method']}"
    if row["n_imputed"] and str(row["n_imputed"]) not in row["method"]:
        text += f" ({words.plural(row['n_imputed'], 'cell')} imputed)"
    return words.sentence(text)


def _variance(shares: pl.DataFrame, frame: pl.DataFrame, slug: str) -> Figure:
    shown = shares.head(SHOWN_SHARES)
    rest = shares.height - shown.height
    values = ", ".join(_percent(value) for value in shown["explained_variance_ratio"])
    simpler = " Imputed cells make the table look a little simpler than it is." if frame["n_imputed"][0] else ""
    more = f" {words.plural(rest, 'further component')} {'is' if rest == 1 else 'are'} not drawn." if rest else ""
    return Figure(
        name=f"{slug}_component_variance",
        title="Share of the variance that each component explains",
        caption=(
            f"Bars are single components, the line is their running sum.{more} {_basis(frame)}"
            f"{simpler} Compare Figure 13 of the paper."
        ),
        panels=(
            Panel(
                title="Share of the variance",
                label=f"Bar chart: share of the variance explained by {shown.height} components: {values}.",
                chart=charts.explained_variance(shown),
            ),
        ),
        empty="",
        key="Bars: one component; line: running sum",
        panel_width=460,
    )


def _loadings(frame: pl.DataFrame, slug: str) -> Figure:
    first = frame.filter(component=1).sort("loading", descending=True)
    top = words.listing(
        [f"{row['benchmark']} {words.number(row['loading'], 2)}" for row in first.head(3).iter_rows(named=True)]
    )
    return Figure(
        name=f"{slug}_component_loadings",
        title="Weight of each benchmark in the components",
        caption=(
            "Loadings: the weights of the standardised benchmarks in a component, each column a vector of length one. "
            "Blue and vermilion pull opposite ways; the sign of a column is fixed so that its largest weight is "
            f"positive. Sorted by the first component. {_basis(frame)} Compare Figure 12 of the paper."
        ),
        panels=(
            Panel(
                title="Loadings",
                label=(
                    f"Heat map of the loadings of {frame['benchmark'].n_unique()} benchmarks in "
                    f"{words.plural(frame['component'].n_unique(), 'component')}. Largest in the first: {top}."
                ),
                chart=charts.loadings(frame),
            ),
        ),
        empty="",
        key="Columns are vectors of length one; the largest weight of each is positive",
        panel_width=430,
    )


def _percent(share: float) -> str:
    return f"{words.number(100 * share)}\u00a0%"

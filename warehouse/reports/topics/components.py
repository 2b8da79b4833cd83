"""Common components of the benchmarks: principal components of their values (Figures 12 and 13 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import strongest
from warehouse.reports.topics.correlations import PAPER

TITLE = "What the benchmarks have in common"
SHOWN = 5
"""Components of the heat map, as in the paper."""
SHOWN_SHARES = 12
PAPER_SHARE_OF_FIVE = "96.8 %"


def section(study: Study) -> Section:
    """Explained variance and loadings."""
    frame = components(study)
    if not frame.height:
        text = (
            "There are no capability components for this study: the performance model has not run yet, or too few "
            "benchmarks have values for enough models."
        )
        if not frame.columns:
            text = "There are no capability components for this study: none have been computed in this warehouse."
        return Section("components", TITLE, (text,))
    shares = component_shares(frame)
    items = (_variance(shares, frame, study), _loadings(frame.filter(pl.col("component") <= SHOWN), study))
    return Section("components", TITLE, (_summary(shares, study.source),), items=items)


def components(study: Study) -> pl.DataFrame:
    """One row per capability component and benchmark."""
    columns = (
        "component, explained_variance_ratio, noise_ratio, noise_ratio_95, benchmark, loading, method, n_models, "
        "n_imputed"
    )
    return study.read("fct_capability_components", columns, "component, benchmark", optional=True)


def component_shares(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per component, with the running sum of the shares of the variance."""
    shares = frame.unique("component", keep="first", maintain_order=True)
    return shares.with_columns(
        pl.col("explained_variance_ratio").cum_sum().alias("cumulative_ratio"),
        pl.col("noise_ratio").cum_sum().alias("cumulative_noise_ratio"),
    )


def explained_variance(frame: pl.DataFrame) -> alt.LayerChart:
    """Bars: share of the variance of a component; lines: running sum, and that of independent noise.

    frame: rows of component_shares.
    """
    tips = (
        ("component:O", "Component"),
        ("explained_variance_ratio:Q", "Share of the variance", ".1%"),
        ("noise_ratio:Q", "Share in independent noise", ".1%"),
        ("noise_ratio_95:Q", "95th percentile in noise", ".1%"),
        ("cumulative_ratio:Q", "With the components before it", ".1%"),
        ("cumulative_noise_ratio:Q", "The same in noise", ".1%"),
        ("n_models:Q", "Models (n)"),
        ("n_imputed:Q", "Imputed cells"),
    )
    frame = frame.with_columns(charts.named("explained_variance_ratio", labels.percent, "share_text"))
    base = alt.Chart(frame).encode(
        x=alt.X("component:O", title="Component", axis=alt.Axis(labelAngle=0)), tooltip=charts.tooltip(tips)
    )
    single, running, noise = (
        charts.share_axis(column)
        for column in ("explained_variance_ratio", "cumulative_ratio", "cumulative_noise_ratio")
    )
    # The running sum passes close above the first, long bars: their numbers are inside.
    texts = [
        base.transform_filter(condition).mark_text(style="value", dy=dy).encode(y=single, text="share_text:N")
        for condition, dy in (
            ("datum.explained_variance_ratio >= 0.3", 14),
            ("datum.explained_variance_ratio < 0.3", -7),
        )
    ]
    layers = [
        base.mark_bar(style="gain", cornerRadiusEnd=2, width={"band": 0.62}).encode(y=single),
        base.mark_line(style="chance").encode(y=noise),
        base.mark_line(style="loss-line").encode(y=running),
        base.mark_point(style="strong-loss", filled=True, size=46, opacity=1).encode(y=running),
        *texts,
    ]
    return charts.layered(layers, 240)


def loadings(frame: pl.DataFrame) -> alt.LayerChart:
    """Benchmark x component, colour and number = loading; rows by the first component's, largest first.

    frame: rows of `components`; all that are given are drawn.
    """
    tips = (
        ("benchmark:N", "Benchmark"),
        ("component:O", "Component"),
        ("loading:Q", "Loading", "+.3f"),
        ("explained_variance_ratio:Q", "Share of the variance", ".1%"),
        ("n_models:Q", "Models (n)"),
    )
    first = frame.filter(component=frame["component"].min()).sort("loading", "benchmark", descending=[True, False])
    places = {name: place for place, name in enumerate(first["benchmark"])}
    largest = max(0.1, *frame["loading"].abs())
    frame = frame.with_columns(
        pl.col("benchmark").replace_strict(places, return_dtype=pl.Int32).alias("row_position"),
        charts.two_digits("loading").alias("text"),
        (pl.col("loading").abs() >= 0.78 * largest).alias("is_strong"),
    ).sort("row_position", "component")
    axis = alt.Axis(orient="top", labelAngle=0, domain=False, ticks=False)
    base = charts.row_chart(frame, "benchmark", tips).encode(x=alt.X("component:O", title="Component", axis=axis))
    color = charts.heat_color("loading", "Loading", (-largest, largest), "diverging")
    styles = {"datum.is_strong": "cell-strong", "!datum.is_strong": "cell-weak-thin"}
    return charts.layered(charts.heat_map(base, color, styles), 22 * frame["benchmark"].n_unique())


def _summary(shares: pl.DataFrame, source: str) -> str:
    n = min(SHOWN, shares.height)
    first, held, noise = (
        _percent(value)
        for value in (
            shares["explained_variance_ratio"][0],
            shares["cumulative_ratio"][n - 1],
            shares["cumulative_noise_ratio"][n - 1],
        )
    )
    text = (
        f"Principal components of the standardised table of models and benchmarks: the first explains {first} of the "
        f"variance, the first {n} together {held} (independent noise: {noise}). {_beyond_noise(shares)}"
    )
    if PAPER in source and n == SHOWN:
        text += f" The paper finds about {PAPER_SHARE_OF_FIVE} for five, on its own larger set of benchmarks."
    return text


def _beyond_noise(shares: pl.DataFrame) -> str:
    """How many components in a row, from the first, hold more than 95 % of the draws of noise."""
    beyond = (shares["explained_variance_ratio"] > shares["noise_ratio_95"]).to_list()
    n = beyond.index(False) if False in beyond else len(beyond)
    if not n:
        return "No component holds more than noise would give it."
    return f"Only the first{'' if n == 1 else f' {n}'} {'holds' if n == 1 else 'hold'} more than noise would give."


def _basis(frame: pl.DataFrame) -> str:
    row = frame.row(0, named=True)
    benchmarks = labels.plural(frame["benchmark"].n_unique(), "benchmark")
    text = f"{labels.plural(row['n_models'], 'model')} and {benchmarks}; {row['method']}"
    if row["n_imputed"] and str(row["n_imputed"]) not in row["method"]:
        text += f" ({labels.plural(row['n_imputed'], 'cell')} imputed)"
    return labels.sentence(text)


def _variance(shares: pl.DataFrame, frame: pl.DataFrame, study: Study) -> Figure:
    shown = shares.head(SHOWN_SHARES)
    rest = shares.height - shown.height
    values = ", ".join(_percent(value) for value in shown["explained_variance_ratio"])
    simpler = " Imputed cells make the table appear slightly simpler than it is." if frame["n_imputed"][0] else ""
    more = f" {labels.plural(rest, 'further component')} {'is' if rest == 1 else 'are'} not drawn." if rest else ""
    return Figure(
        name=study.name("component_variance"),
        title="Share of the variance that each component explains",
        caption=(
            "Bars are single components, the line with dots is their running sum, the dotted grey line the running sum "
            "in independent noise of the same shape, with the same cells filled: a few components hold much of a small "
            f"table.{more} {_basis(frame)}{simpler} Compare Figure 13 of the paper."
        ),
        panels=(
            Panel(
                title="Share of the variance",
                label=f"Bar chart: share of the variance explained by {shown.height} components: {values}.",
                chart=explained_variance(shown),
            ),
        ),
        key="Bars: one component; line: running sum; dotted grey: running sum in independent noise",
        panel_width=460,
    )


def _loadings(frame: pl.DataFrame, study: Study) -> Figure:
    first = frame.filter(component=1).sort("loading", descending=True).head(3)
    top = labels.listing([f"{row['benchmark']} {labels.number(row['loading'], 2)}" for row in first.to_dicts()])
    by_weight = frame.sort(pl.col("loading").abs().max().over("benchmark"), "benchmark", descending=[True, False])
    rule = "the largest weight in one of these components"
    drawn, which = strongest(by_weight, "benchmark", rule, "fct_capability_components")
    return Figure(
        name=study.name("component_loadings"),
        title="Weight of each benchmark in the components",
        caption=(
            "Loadings: the weights of the standardised benchmarks in a component, each column a vector of length one. "
            "Blue and vermilion are opposite signs; the sign of a column is fixed so that its largest weight is "
            f"positive. Sorted by the first component. {_basis(frame)}{which} Compare Figure 12 of the paper."
        ),
        panels=(
            Panel(
                title="Loadings",
                label=(
                    f"Heat map of the loadings of {drawn['benchmark'].n_unique()} benchmarks in "
                    f"{labels.plural(frame['component'].n_unique(), 'component')}. Largest in the first: {top}."
                ),
                chart=loadings(drawn),
            ),
        ),
        key="Columns are vectors of length one; the largest weight of each is positive",
        panel_width=430,
    )


def _percent(share: float) -> str:
    return f"{labels.number(100 * share)}\u00a0%"

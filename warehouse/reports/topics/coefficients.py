"""Weights of the performance model: coefficients of the elastic net and their stability (Figure 5 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_OBJECTIVE, BY_PROTOCOL, parts
from warehouse.reports.topics import prediction

TITLE = "What the performance model weighs"
SHOWN_TERMS = 15
_PANEL_TITLES = {
    "paper_in_sample": "In-sample, setting chosen by ten folds (as the paper)",
    "leave_publisher_out": "In-sample, setting chosen with publishers left out",
}
"""The protocol that chose the setting: the coefficients themselves are always in-sample."""
_BY_WEIGHT = (
    "max(abs(coefficient)) over (partition by objective, feature) desc, "
    "max(selection_frequency) over (partition by objective, feature) desc, feature"
)


def section(study: Study) -> Section:
    """One figure per objective, one panel per protocol that chose the setting."""
    frame = coefficients(study)
    missing = prediction.absence(study, prediction.prediction_errors(study))
    if missing or not frame.height:
        return Section("coefficients", TITLE, (missing or "No coefficients of a performance model are stored.",))
    settings = final_settings(study)
    figures = tuple(figure(part, settings, objective, study) for objective, part in parts(frame, "objective"))
    text = (
        "Elastic net, refitted to all models: these weights are in-sample, whichever way its setting was chosen. With "
        "few models and correlated features, a weight is not an effect. How often a feature is kept when publishers "
        "are resampled says more than its weight does."
    )
    return Section("coefficients", TITLE, (text,), items=figures)


def coefficients(study: Study) -> pl.DataFrame:
    """One row per objective, feature and protocol.

    Features come by their largest |coefficient| under any protocol, then by selection frequency, then by name;
    `feature_position` counts them from 1 within the objective.
    """
    frame = study.read(
        "fct_performance_coefficients",
        "objective, protocol, feature, coefficient, selection_frequency",
        f"{BY_OBJECTIVE}, {_BY_WEIGHT}, {BY_PROTOCOL}",
        prediction.TARGET,
        optional=True,
    )
    if not frame.height:
        return frame
    return frame.with_columns(
        pl.col("feature").rle_id().over("objective").add(1).cast(pl.Int64).alias("feature_position")
    )


def final_settings(study: Study) -> pl.DataFrame:
    """One row per objective: the predictor and the setting that nested selection takes when it may see all models."""
    columns = "objective, selected_predictor, degree, alpha, l1_ratio, shrinkage, fold"
    frame = study.read("fct_performance_choices", columns, BY_OBJECTIVE, prediction.TARGET, optional=True)
    return frame.filter(pl.col("fold").is_null()) if frame.height else frame


def coefficient_range(frame: pl.DataFrame) -> charts.Range:
    """One x range for the panels of an objective, with room at the right for the selection frequency."""
    values = [0.0, *frame["coefficient"].drop_nulls()]
    low, high = min(values), max(values)
    width = max(high - low, 0.1)
    return low - 0.04 * width * (low < 0), high + 0.3 * width


def coefficient_bars(frame: pl.DataFrame, domain: charts.Range) -> alt.LayerChart:
    """Bars of the coefficients of one protocol, in the frame's order; at the right how often a term is selected.

    frame: rows of `coefficients` of one objective and protocol.
    """
    tips = (
        ("feature_text:N", "Feature"),
        ("protocol_text:N", "Setting chosen by"),
        ("coefficient:Q", "Points per standard deviation", "+.2f"),
        ("selection_frequency:Q", "Selected in resamples of publishers", ".0%"),
        ("feature_position:Q", "Place by weight"),
    )
    frame = charts.ranked(frame, "feature").with_columns(
        charts.named("feature", labels.term, "feature_text"),
        charts.named("protocol", labels.protocol, "protocol_text"),
        charts.named("selection_frequency", labels.percent, "frequency_text"),
    )
    base = charts.row_chart(frame, "feature_text", tips, alt.Axis(labelLimit=190))
    x = charts.across("coefficient", "Points per standard deviation", domain, tickCount=6)
    styles = {"datum.coefficient > 0": "best", "datum.coefficient < 0": "strong-loss"}
    frequencies = {"datum.coefficient !== 0": "value-strong", "datum.coefficient === 0": "note"}
    layers = [
        *(bar.encode(x2=alt.X2Datum(0)) for bar in charts.bars(base, x, styles, 0.62)),
        charts.zero(frame),
        *(
            charts.value_at_right(base.transform_filter(condition), "frequency_text:N", style=style)
            for condition, style in frequencies.items()
        ),
    ]
    return charts.layered(layers, 22 * frame.height)


def figure(part: pl.DataFrame, settings: pl.DataFrame, objective: str, study: Study) -> Figure:
    """The coefficients of one objective; settings: of `final_settings`."""
    shown = part.filter(pl.col("feature_position") <= SHOWN_TERMS)
    total, domain = max(part["feature_position"].to_list()), coefficient_range(shown)
    panels = []
    for protocol, rows in parts(shown, "protocol"):
        title = _PANEL_TITLES.get(protocol, protocol)
        weights = [
            f"{labels.term(row['feature'])} {labels.number(row['coefficient'], 2, signed=True)} "
            f"({labels.percent(row['selection_frequency'])})"
            for row in rows.filter(pl.col("coefficient") != 0).to_dicts()
        ]
        panels.append(
            Panel(
                title=title,
                label=(
                    f"Coefficients of the elastic net, {labels.objective(objective)}, {title}. Not zero: "
                    f"{labels.listing(weights) or 'none'}."
                ),
                chart=coefficient_bars(rows, domain),
            )
        )
    more = total - SHOWN_TERMS
    same = " Both ways chose the same setting here, so the panels agree." if _all_equal(part) else ""
    rest = f"{SHOWN_TERMS} of {total} terms are shown; the database holds the other {more}." if more > 0 else ""
    return Figure(
        name=study.name("coefficients", objective),
        title=f"{labels.objective(objective)}: coefficients of the elastic net and how often each is selected",
        caption=(
            "Bars are the change of the predicted score, in points, for one standard deviation of the feature; the "
            "number at the right is the share of resamples of publishers in which the weight is not zero, bold where "
            "it is not zero here. Largest weight of either panel first. A feature without a bar was given to the "
            f"model and dropped. {rest} {_setting(settings, objective)}{same} Compare Figure 5 of the paper, which "
            "shows weights as in the first panel only."
        ),
        panels=tuple(panels),
        key="Points per standard deviation; at the right: share of resamples of publishers that select the term",
        columns=2,
        panel_width=420,
    )


def _all_equal(part: pl.DataFrame) -> bool:
    """Whether the protocols, more than one, have the same weights and frequencies."""
    columns = ("feature", "coefficient", "selection_frequency")
    weights = [rows.select(columns).sort("feature") for _, rows in parts(part, "protocol")]
    return len(weights) > 1 and all(other.equals(weights[0]) for other in weights[1:])


def _setting(settings: pl.DataFrame, objective: str) -> str:
    mine = settings.filter(objective=objective).to_dicts() if settings.height else []
    if not mine:
        return ""
    row = mine[0]
    return (
        f"With publishers left out, degree {row['degree']}, alpha {row['alpha']:g} and L1 ratio {row['l1_ratio']:g} "
        f"were chosen; the average of all predictors is "
        f"shrunk by the factor {labels.number(row['shrinkage'], 2)} to the mean of the results (1: not at all)."
    )

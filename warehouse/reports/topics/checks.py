"""What checks add to a reward: each alone and all together, by benchmark and by policy."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import parts
from warehouse.reports.tables import COUNT, MODEL, PROSE, TEXT, Col, Row, Table, decimals

MOST_PANELS = 8
"""Most benchmarks and policies with a chart of their own."""
MOST_ROWS = 24
"""Most rows of a chart."""
_TWO, _THREE, _SIGNED = decimals(2), decimals(3), decimals(3, signed=True)
SUMMARY = (
    "A check says of a text whether it does something that can be checked: follow an instruction, have a form, end as "
    "a sentence does. Here the reward of a reward model is z-scored on the texts compared, and each check is added "
    "times its weight. A check that does not apply, or could not be made, adds 0 and is counted. The gain is against "
    "the reward alone, on the same items or prompts."
)


def section(study: Study) -> Section | None:
    """Sentences, gains as charts, and two tables; None for a study without rewards with checks."""
    gains = agentic_gains(study)
    if not gains.height:
        return None
    items = (_figure(gains, study), _table(gains, study), _fits(gains, study))
    return Section(
        "checks",
        "What checks add",
        (SUMMARY, *_said(gains), *_not_made(gains)),
        items=tuple(item for item in items if item is not None),
    )


def agentic_gains(study: Study) -> pl.DataFrame:
    """One row per reward with checks, and benchmark or policy; those with all checks first."""
    return study.read(
        "fct_agentic_gains",
        "reward_id, plain_reward_id, added, n_checks, weights, is_fitted, fit_benchmark, n_fit_items, optimism_points, "
        "compared_on, place, benchmark, metric, n_best_of, n, n_left_out, n_better, n_worse, value_plain, value, gain, "
        "low, high, n_checked, n_not_applicable, n_failed, mean_check, failures, status",
        "compared_on, place, plain_reward_id, is_fitted, added = 'all' desc, added, reward_id",
        optional=True,
    )


def _name(row: Row) -> str:
    """What is added to which reward."""
    fitted = ", weights chosen" if row["is_fitted"] else ""
    checks = row["weights"].split(" ")[0] if row["n_checks"] == 1 else "all checks"
    return f"{row['plain_reward_id']} + {checks}{fitted}"


def with_names(gains: pl.DataFrame) -> pl.DataFrame:
    """The column `row`: what is added to which reward, or the reward_id where several of a place were named alike."""
    named = gains.with_columns(pl.Series("row", [_name(row) for row in gains.to_dicts()], pl.String))
    is_repeated = pl.len().over("place", "row") > 1
    return named.with_columns(pl.when(is_repeated).then("reward_id").otherwise("row").alias("row"))


def _said(gains: pl.DataFrame) -> tuple[str, ...]:
    """Of each benchmark and policy, what the checks together add."""
    said = []
    for place, rows in parts(gains.filter(pl.col("gain").is_not_null(), pl.col("low").is_not_null()), "place"):
        whole = rows.filter(added="all").to_dicts()
        up = [row for row in whole if row["low"] > 0]
        down = [row for row in whole if row["high"] < 0]
        open_ = len(whole) - len(up) - len(down)
        words = [
            f"{labels.plural(len(found), 'reward')} {what}"
            for found, what in ((up, "higher with checks than without"), (down, "lower"))
            if found
        ]
        if open_:
            words.append(f"{labels.plural(open_, 'reward')} not told apart from the reward alone")
        if words:
            said.append(f"{place}: {labels.listing(words)}.")
    return tuple(said)


def _not_made(gains: pl.DataFrame) -> tuple[str, ...]:
    """Checks that could not be made, and why."""
    found = gains.filter(pl.col("n_failed") > 0).select("place", "failures").unique(maintain_order=True)
    whole = dict(found.group_by("place", maintain_order=True).agg(pl.col("failures").first()).iter_rows())
    return tuple(f"Not made on {place}: {failures}." for place, failures in whole.items())


def gain_chart(frame: pl.DataFrame) -> alt.LayerChart:
    """Gain and interval, a row per reward and check; frame: rows of `agentic_gains` with `row`, of one place."""
    tips = (
        ("row:N", "Reward"),
        ("gain:Q", "Gain", "+.3f"),
        ("low:Q", "95 % interval from", "+.3f"),
        ("high:Q", "to", "+.3f"),
        ("value_plain:Q", "Without checks", ".3f"),
        ("value:Q", "With checks", ".3f"),
        ("n:Q", "Items or prompts"),
    )
    base = charts.row_chart(charts.ranked(frame, "row"), "row", tips)
    ends = [*frame["low"], *frame["high"], *frame["gain"], 0.0]
    x = charts.across("gain", "Gain", charts.padded(ends, 0.06, 0.005, right=4.0), format="+.2f", tickCount=5)
    layers = [
        charts.zero(frame),
        charts.whisker(base, "low", "high"),
        charts.dots(base, x, "best"),
        charts.value_at_right(base, "gain:Q", "+.3f"),
    ]
    return charts.layered(layers, 24 * frame["row"].n_unique())


def _figure(gains: pl.DataFrame, study: Study) -> Figure | None:
    drawn = with_names(gains.filter(pl.col("gain").is_not_null()))
    panels = [
        Panel(
            title=f"{place}: {_metric(rows.row(0, named=True))}",
            label=f"Dots with intervals: what each check and all together add to a reward, on {place}.",
            chart=gain_chart(rows.head(MOST_ROWS)),
        )
        for place, rows in list(parts(drawn, "place"))[:MOST_PANELS]
    ]
    if not panels:
        return None
    return Figure(
        name=study.name("agentic_gains"),
        title="What each check adds",
        caption=(
            "Difference from the reward without checks. Lines: 95 % intervals, paired bootstrap over items or prompts. "
            "Items that chose the weights are left out."
        ),
        panels=tuple(panels),
        key="Gain over the reward alone; lines: 95 % intervals",
        columns=2,
        panel_width=420,
    )


def _metric(row: Row) -> str:
    if row["n_best_of"] is not None:
        return f"gold of the best of {row['n_best_of']}"
    return str(row["metric"]).replace("_", " ")


def _interval(row: Row) -> str:
    return "" if row["low"] is None else f"{labels.number(row['low'], 3)} to {labels.number(row['high'], 3)}"


def _table(gains: pl.DataFrame, study: Study) -> Table:
    return Table(
        study.name("agentic_gains"),
        "All rewards with checks",
        "Second lines: 95 % intervals. Better, worse: items or prompts whose value rose or fell. Applied, not "
        "applicable, not made: texts by what the check found; of several checks, the sum.",
        with_names(gains).to_dicts(),
        [
            Col("Reward and check", "row", MODEL),
            Col("On", "place", TEXT),
            Col("Weights", "weights", TEXT, "in standard deviations of the reward"),
            Col("Without", "value_plain", _THREE),
            Col("With", "value", _THREE),
            Col("Gain", "gain", _SIGNED, note=_interval),
            Col("n", "n", COUNT),
            Col("Better", "n_better", COUNT),
            Col("Worse", "n_worse", COUNT),
            Col("Passed", "mean_check", _TWO, "mean value of the check where it has one"),
            Col("Applied", "n_checked", COUNT),
            Col("Not applicable", "n_not_applicable", COUNT),
            Col("Not made", "n_failed", COUNT),
            Col("Remark", lambda row: None if row["status"] == "ok" else row["status"], PROSE),
        ],
    )


def _fits(gains: pl.DataFrame, study: Study) -> Table | None:
    fitted = gains.filter("is_fitted").unique("reward_id", maintain_order=True).filter(pl.col("added") == "all")
    if not fitted.height:
        return None
    return Table(
        study.name("agentic_fits"),
        "Weights that were chosen",
        "By the items of a benchmark that are left out of the gains there. Optimism: what the choice flatters a half "
        "of these items by, measured on the other half, mean of random halves.",
        with_names(fitted).to_dicts(),
        [
            Col("Reward", "reward_id", MODEL),
            Col("Chosen on", "fit_benchmark", TEXT),
            Col("Items", "n_fit_items", COUNT),
            Col("Weights", "weights", TEXT),
            Col("Optimism", "optimism_points", decimals(1, signed=True), "points"),
        ],
    )

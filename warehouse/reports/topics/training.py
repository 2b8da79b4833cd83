"""Training of the reward models: learning-rate search and learning curves, for studies that train their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_OBJECTIVE, parts
from warehouse.reports.tables import COMPACT, COUNT, MODEL, POINTS, SIGNED, THOUSANDS, Col, Row, Table

CURVES = {"loss": "Training loss", "validation_accuracy": "Validation pairs won (percent)"}
"""Columns of `learning_curves` that can be drawn, with the title of their axis."""
_STEPS = {"loss": "step", "validation_accuracy": "checkpoint_step"}
RUN_STATUS = {"finished": "trained to the end", "stopped": "stopped early", "failed": "failed"}
MANY_MODELS = 12
"""Number of models above which fewer points are drawn, to keep the page small."""
POINTS_OF_OTHERS = 50
"""Approximate number of points of the curve of a run that was not chosen, besides its checkpoints."""
_DROPPED = {
    "split": "of prompts that validate",
    "over_long": "over-long ones",
    "bad": "that cannot be used",
    "tie": "ties",
    "repeated": "repeated ones",
}
_CHOSEN = {"regression": "rate, checkpoint and merge vector"}


def section(study: Study) -> Section | None:
    """Per objective the rates that were tried, and the choice; None without a search."""
    search = rate_search(study)
    if not search.height:
        return None
    items: list[Figure | Table] = []
    for objective, part in parts(search, "objective"):
        items += [_search_figure(part, objective, study), _search_table(part, objective, study)]
    introduction = (
        "For each base model and objective several learning rates are tried; every run is judged at each saved "
        "checkpoint by the share of validation pairs won, and the best checkpoint of the best rate becomes the reward "
        "model."
    )
    paragraphs = (introduction, *selection_bias(search), *_dropped(study), *_economy(search), *_failures(search))
    return Section("training", "How the reward models were trained", paragraphs, items=tuple(items))


def curves_section(study: Study) -> Section | None:
    """Learning curves: loss and validation accuracy per objective and base model; None without a search."""
    objectives = rate_search(study)
    if not objectives.height:
        return None
    curves, items = learning_curves(study), []
    for objective in objectives["objective"].unique(maintain_order=True):
        mine = curves.filter(objective=objective) if curves.height else curves
        items += [_curves(mine, column, objective, study) for column in CURVES]
    text = "Loss and validation accuracy of the training runs, for one base model at a time."
    return Section("curves", "Learning curves", (text,), items=tuple(items))


def rate_search(study: Study) -> pl.DataFrame:
    """One row per objective, model and training run at its best checkpoint, by rate and seed."""
    return study.read(
        "fct_learning_rate_search",
        "objective, model_id, training_run, learning_rate, seed, status, reason, is_selected, n_steps, "
        "n_steps_planned, best_step, best_validation_accuracy, best_validation_standard_error, n_validation_pairs, "
        "search_method, search_status, search_n_steps, search_n_steps_full_grid, accuracy_choosing_half, "
        "accuracy_other_half, optimism_points",
        f"{BY_OBJECTIVE}, model_id, learning_rate, seed",
        optional=True,
    )


def learning_curves(study: Study) -> pl.DataFrame:
    """One row per objective, model, training run and step, for drawing.

    Runs that were not chosen keep about POINTS_OF_OTHERS of the mart's 200 points, evenly spaced, and all checkpoints.
    With more than MANY_MODELS models they are left out, and the chosen ones keep every second point.
    """
    run = "partition by objective, model_id, training_run"
    frame = study.read(
        "fct_learning_curves",
        "objective, model_id, training_run, learning_rate, seed, status, is_selected, step, loss, gradient_norm, "
        f"n_tokens, checkpoint_step, validation_accuracy, row_number() over ({run} order by step) as place, "
        f"count(*) over ({run}) as n_points",
        f"{BY_OBJECTIVE}, model_id, is_selected, training_run, step",
        optional=True,
    )
    if not frame.height:
        return frame
    chosen, checkpoint = pl.col("is_selected"), pl.col("validation_accuracy").is_not_null()
    place, n_points = pl.col("place"), pl.col("n_points")
    if frame["model_id"].n_unique() > MANY_MODELS:
        kept = chosen & (checkpoint | (place % 2 == 0) | (n_points <= POINTS_OF_OTHERS))
    else:
        kept = chosen | checkpoint | (place % (n_points / POINTS_OF_OTHERS).ceil().cast(pl.Int64) == 0)
    return frame.filter(kept).drop("place", "n_points")


def selection_bias(search: pl.DataFrame) -> tuple[str, ...]:
    """One sentence per objective: validation accuracy lost on pairs that took no part in the choice (definitions,
    Section 9).
    """
    sentences = []
    for objective, part in parts(_per_search(search).filter(pl.col("optimism_points").is_not_null()), "objective"):
        points = part["optimism_points"]
        mean, low, high = (labels.number(value, signed=True) for value in (points.mean(), points.min(), points.max()))  # type: ignore[arg-type]
        spread = f", from {low} to {high} over {labels.plural(part.height, 'model')}" if part.height > 1 else ""
        halves = [labels.number(part[f"accuracy_{half}_half"].mean()) for half in ("choosing", "other")]  # type: ignore[arg-type]
        chosen = _CHOSEN.get(objective, "rate and checkpoint")
        sentences.append(
            f"{labels.objective(objective)}: choosing {chosen} by the validation pairs overstates their accuracy by "
            f"{mean} points on average{spread}. Chosen on half of the validation prompts, a reward model wins "
            f"{halves[0]} % of the pairs there and {halves[1]} % on the other half."
        )
    return tuple(sentences)


def _per_search(search: pl.DataFrame) -> pl.DataFrame:
    return search.unique(["objective", "model_id"], keep="first", maintain_order=True)


def rows_dropped(study: Study) -> pl.DataFrame:
    """One row per objective, model and reason: training rows of the data that were not trained on."""
    return study.read(
        "fct_training_rows_dropped",
        "objective, model_id, reason, n_train_rows_dropped, n_train_rows, is_stated",
        f"{BY_OBJECTIVE}, is_stated, reason, model_id",
        optional=True,
    )


def _dropped(study: Study) -> tuple[str, ...]:
    """One sentence per objective: the most training rows lost for any model, by reason (definitions, Section 9)."""
    sentences = []
    for objective, part in parts(rows_dropped(study), "objective"):
        most = part.group_by("is_stated", "reason", maintain_order=True).agg(pl.col("n_train_rows_dropped").max())
        found = [
            f"{row['n_train_rows_dropped']:,} {_DROPPED[row['reason']]}"
            for row in most.to_dicts()
            if row["n_train_rows_dropped"]
        ]
        n_rows = int(part["n_train_rows"].max())  # type: ignore[arg-type]
        most_of = "" if part["model_id"].n_unique() == 1 else " at most"
        told = f"left out are{most_of} {labels.listing(found)}" if found else "none was dropped"
        sentences.append(f"{labels.objective(objective)}: of the {n_rows:,} training rows of the data, {told}.")
    return tuple(sentences)


def _economy(search: pl.DataFrame) -> tuple[str, ...]:
    known = _per_search(search).filter(pl.col("search_n_steps_full_grid") > 0)
    taken, full = int(known["search_n_steps"].sum()), int(known["search_n_steps_full_grid"].sum())
    if not full or taken >= full:
        return ()
    return (
        f"Stopping the weaker rates early, the searches took {taken:,} optimizer steps: "
        f"{labels.percent(taken / full)} of the {full:,} that training every rate to the end would take.",
    )


def _failures(search: pl.DataFrame) -> tuple[str, ...]:
    sentences = []
    failed = search.filter(status="failed")
    if failed.height:
        reasons = [
            f"{row['model_id']}, {labels.objective(row['objective'])}, {row['training_run']}: {row['reason'] or '–'}"
            for row in failed.to_dicts()
        ]
        count = f"{labels.plural(failed.height, 'training run')} failed"
        sentences.append(labels.sentence(f"{count} ({labels.listing(reasons, 10)})"))
    nothing = _per_search(search).filter(search_status="failed")
    if nothing.height:
        names = [f"{row['model_id']} ({labels.objective(row['objective'])})" for row in nothing.to_dicts()]
        sentences.append(f"The search of {labels.listing(names)} gave no reward model.")
    return tuple(sentences)


def _search_figure(part: pl.DataFrame, objective: str, study: Study) -> Figure:
    known = part.filter(pl.col("best_validation_accuracy").is_not_null())
    name, panels = labels.objective(objective), []
    for model_id, rows in parts(known, "model_id"):
        chosen = _chosen(rows)
        picked = "none was chosen" if chosen is None else f"chosen: {chosen['learning_rate']:g}"
        values = ", ".join(
            f"{row['learning_rate']:g}: {labels.number(row['best_validation_accuracy'])}" for row in rows.to_dicts()
        )
        panels.append(
            Panel(
                title=model_id,
                label=f"Validation accuracy by learning rate, {name}, {model_id}; {picked}. {values}.",
                chart=rate_chart(rows, accuracy_range(known)),
            )
        )
    missing = part["model_id"].n_unique() - known["model_id"].n_unique()
    without = f" {labels.plural(missing, 'model')} without a checkpoint not drawn." if missing else ""
    return Figure(
        name=study.name("rate_search", objective),
        title=f"{name}: validation accuracy against the learning rate",
        caption=(
            "Each dot is a training run at its best checkpoint: filled if it was trained to the end, hollow if the "
            "search stopped it early or it failed later. The vermilion diamond became the reward model. Lines are one "
            "standard error from the number of validation pairs; all runs of a model meet the same pairs, so their "
            f"order is more certain than the lines suggest. Rates are on a logarithmic axis.{without}"
        ),
        panels=tuple(panels),
        empty=f"{name}: no training run has a checkpoint.",
        key="Diamond: chosen; filled: trained to the end; hollow: stopped early; lines: one standard error",
        columns=3,
        panel_width=300,
    )


def _chosen(rows: pl.DataFrame) -> dict[str, Any] | None:
    return next(iter(rows.filter("is_selected").to_dicts()), None)


def _search_table(frame: pl.DataFrame, objective: str, study: Study) -> Table:
    rows = []
    for _, part in parts(frame, "model_id"):
        ends = [part.filter(status=status).height for status in RUN_STATUS]
        more = {"chosen": _chosen(part), "n_runs": part.height, "ends": " · ".join(map(str, ends))}
        rows.append(part.row(0, named=True) | more)

    def of_chosen(key: str) -> Callable[[Row], Any]:
        return lambda row: row["chosen"] and row["chosen"][key]

    return Table(
        name=study.name("searches", objective),
        title=f"{labels.objective(objective)}: what the search chose",
        caption=(
            "The best checkpoint of the best rate became the reward model. Under its accuracy: the standard error from "
            "the number of pairs. Optimism: accuracy on the half of the validation prompts that was chosen by, minus "
            "that on the other half: how much the choice overstates it. Under the number of runs: trained to the end, "
            "stopped early, failed. Steps: those taken, and their share of what the full grid would take."
        ),
        rows=rows,
        columns=[
            Col("Base model", "model_id", MODEL, note=lambda row: "" if row["chosen"] else "no reward model"),
            Col("Learning rate", of_chosen("learning_rate"), COMPACT),
            Col("Seed", of_chosen("seed"), COUNT),
            Col("Step", of_chosen("best_step"), COUNT, "optimizer step of the checkpoint"),
            Col(
                "Validation",
                of_chosen("best_validation_accuracy"),
                POINTS,
                "validation pairs won, percent",
                note=_error,
            ),
            Col("Optimism", "optimism_points", SIGNED, "points"),
            Col("Runs", "n_runs", COUNT, "training runs", note=lambda row: row["ends"]),
            Col("Steps", _steps, THOUSANDS, "optimizer steps of all runs", note=_share_of_grid),
        ],
    )


def _error(row: Row) -> str:
    return f"± {labels.number(row['chosen']['best_validation_standard_error'])}" if row["chosen"] else ""


def _steps(row: Row) -> int | None:
    return row["search_n_steps"] if row["search_n_steps_full_grid"] else None


def _share_of_grid(row: Row) -> str:
    taken, full = _steps(row), row["search_n_steps_full_grid"]
    return "" if taken is None else labels.percent(taken / full)


def _curves(curves: pl.DataFrame, column: str, objective: str, study: Study) -> Figure:
    name, panels = labels.objective(objective), []
    known = curves.filter(pl.col(column).is_not_null()) if curves.height else curves
    for model_id, rows in parts(known, "model_id"):
        chosen = rows.filter("is_selected")[column]
        ends = ""
        if len(chosen):
            first, last = (labels.number(chosen[place], 3) for place in (0, -1))
            ends = f" Chosen run: from {first} to {last}."
        runs = labels.plural(rows["training_run"].n_unique(), "training run")
        panels.append(
            Panel(
                title=model_id,
                label=(
                    f"Learning curves of {runs} of {model_id}, {name}: {CURVES[column].lower()} by "
                    f"optimizer step.{ends}"
                ),
                chart=curve_chart(rows, column),
            )
        )
    what, measure = "validation accuracy at the saved checkpoints", "Share of the validation pairs won."
    if column == "loss":
        what = "training loss"
        measure = (
            "Mean loss of each step's batch; a run of more than 200 steps is drawn as 200 means of equal stretches."
        )
    return Figure(
        name=study.name(f"curves_{column}", objective),
        title=f"{name}: {what}",
        caption=(
            f"{measure} Blue: the run that was chosen; grey: the other runs of the search, where they are drawn. "
            "Choose another base model above the chart; the exported picture shows the first."
        ),
        panels=tuple(panels),
        empty=f"{name}: no {what} is on record.",
        key="Blue: the chosen run; grey: the other runs of the search",
        panel_width=560,
        choice=True,
        choice_label="Base model",
    )


def curve_chart(frame: pl.DataFrame, column: str) -> alt.LayerChart:
    """One model: a column of CURVES against the step, the chosen run in front of the others.

    frame: rows of `learning_curves` of one objective and model.
    """
    tips = (
        ("training_run:N", "Training run"),
        ("run_text:N", "How it ended"),
        ("step:Q", "Step"),
        ("loss:Q", "Training loss", ".4f"),
        ("gradient_norm:Q", "Gradient norm", ".3g"),
        ("validation_accuracy:Q", "Validation pairs won (percent)", ".1f"),
        ("n_tokens:Q", "Tokens so far", ","),
    )
    frame = frame.filter(pl.col(column).is_not_null()).select(
        "training_run",
        _run_text(),
        "is_selected",
        pl.col(_STEPS[column]).alias("step"),
        pl.col("loss", "gradient_norm", "validation_accuracy").round_sig_figs(5),
        "n_tokens",
    )
    base = alt.Chart(frame).encode(
        x=alt.X("step:Q", title="Optimizer step", axis=alt.Axis(tickCount=10, tickMinStep=1, grid=False, format="d")),
        y=alt.Y(f"{column}:Q", title=CURVES[column], scale=alt.Scale(zero=False)),
        detail="training_run:N",
        tooltip=charts.tooltip(tips),
    )
    others, chosen = base.transform_filter("!datum.is_selected"), base.transform_filter("datum.is_selected")
    layers = [others.mark_line(style="behind"), chosen.mark_line(style="coverage")]
    if column == "validation_accuracy" or frame["step"].n_unique() < 40:
        layers.append(chosen.mark_point(style="coverage-point", filled=True, size=36, opacity=1))
    return charts.layered(layers, 240)


def accuracy_range(frame: pl.DataFrame) -> charts.Range:
    """One y range (percent) for the panels of an objective, standard errors included."""
    accuracy, error = pl.col("best_validation_accuracy"), pl.col("best_validation_standard_error").fill_null(0)
    ends = frame.select((accuracy - error).min().alias("low"), (accuracy + error).max().alias("high")).row(0)
    low, high = charts.padded(ends, 0.06, 0.5)
    return max(0.0, low), min(100.0, high)


def rate_chart(frame: pl.DataFrame, domain: charts.Range) -> alt.LayerChart:
    """One model: validation accuracy of each run's best checkpoint against its learning rate, the chosen one marked.

    frame: rows of `rate_search` of one objective and model that have an accuracy.
    """
    tips = (
        ("training_run:N", "Training run"),
        ("run_text:N", "How it ended"),
        ("best_validation_accuracy:Q", "Validation pairs won (percent)", ".1f"),
        ("best_validation_standard_error:Q", "Standard error (points)", ".1f"),
        ("best_step:Q", "Best checkpoint, step"),
        ("n_steps:Q", "Steps taken"),
        ("n_validation_pairs:Q", "Validation pairs"),
    )
    accuracy, error = pl.col("best_validation_accuracy"), pl.col("best_validation_standard_error")
    frame = frame.with_columns(
        _run_text(),
        (accuracy - error).clip(0, 100).alias("low"),
        (accuracy + error).clip(0, 100).alias("high"),
    )
    rates = frame["learning_rate"].to_list()
    base = alt.Chart(frame).encode(
        x=alt.X(
            "learning_rate:Q",
            title="Learning rate",
            scale=alt.Scale(type="log", domain=[min(rates) / 1.35, max(rates) * 1.35], nice=False),
            axis=alt.Axis(values=_ticks(rates), format="~e", labelOverlap=True, grid=False),
        ),
        tooltip=charts.tooltip(tips),
    )
    y = alt.Y(
        "best_validation_accuracy:Q",
        title=CURVES["validation_accuracy"],
        scale=alt.Scale(domain=list(domain), nice=False, zero=False),
        axis=alt.Axis(tickCount=5),
    )
    points = [
        base.transform_filter(condition)
        .mark_point(style=style, filled=True, size=size, opacity=1, shape=shape)
        .encode(y=y)
        for condition, style, size, shape in (
            ("!datum.is_selected && datum.status !== 'finished'", "hollow", 54, "circle"),
            ("!datum.is_selected && datum.status === 'finished'", "gain", 54, "circle"),
            ("datum.is_selected", "strong-loss", 120, "diamond"),
        )
    ]
    whiskers = base.mark_rule(style="faint-whisker").encode(y=alt.Y("low:Q"), y2="high:Q")
    return charts.layered([whiskers, *points], 165)


def _ticks(rates: list[float]) -> list[float]:
    """The rates, thinned to those at least a quarter of a decade apart: labels of more would overlap."""
    ticks: list[float] = []
    for rate in sorted(set(rates)):
        if not ticks or rate >= ticks[-1] * 10**0.25:
            ticks.append(rate)
    return ticks


def _run_text() -> pl.Expr:
    return pl.col("status").replace(RUN_STATUS).alias("run_text")

"""How the reward models were trained, and what that cost: only for studies that train their own."""

from __future__ import annotations

import duckdb
import polars as pl

from warehouse import training_marts
from warehouse.reports import training_tables, words
from warehouse.reports.charts import training as charts
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Figure, Panel, Section, Table

_CHOSEN = {"regression": "rate, checkpoint and merge vector"}


def sections(connection: duckdb.DuckDBPyConnection, study_id: str, slug: str) -> tuple[Section, ...]:
    """The sections on training and on costs; none for a study that has no such rows."""
    search = training_marts.rate_search(connection, study_id)
    costs = training_marts.run_costs(connection, study_id)
    found = []
    if search.height:
        found.append(section(search, training_marts.learning_curves(connection, study_id), slug))
    if costs.height:
        found.append(cost_section(costs, slug))
    return tuple(found)


def section(search: pl.DataFrame, curves: pl.DataFrame, slug: str) -> Section:
    """Rate search and learning curves; the frames are of training_marts."""
    items: list[Figure | Table] = []
    for name, part in parts(search, "objective"):
        items.append(_search_figure(part, slug, name))
        items.append(training_tables.searches(part, f"{slug}_searches_{words.slug(name)}", name))
        mine = curves.filter(objective=name) if curves.height else curves
        items += [_curves(mine, column, slug, name) for column in charts.CURVES]
    introduction = (
        "For each base model and objective several learning rates are tried; every run is judged at each saved "
        "checkpoint by the share of validation pairs won, and the best checkpoint of the best rate becomes the reward "
        "model."
    )
    paragraphs = (introduction, *optimism(search), *_economy(search), *_failures(search))
    return Section("training", "How the reward models were trained", paragraphs, items=tuple(items))


def optimism(search: pl.DataFrame) -> tuple[str, ...]:
    """One sentence per objective on how much choosing flatters (definitions, Section 9)."""
    sentences = []
    for name, part in parts(_per_search(search).filter(pl.col("optimism_points").is_not_null()), "objective"):
        points = part["optimism_points"]
        mean, low, high = (words.number(value, signed=True) for value in (points.mean(), points.min(), points.max()))  # type: ignore[arg-type]
        spread = f", from {low} to {high} over {words.plural(part.height, 'model')}" if part.height > 1 else ""
        halves = [words.number(part[f"accuracy_{half}_half"].mean()) for half in ("choosing", "other")]  # type: ignore[arg-type]
        chosen = _CHOSEN.get(name, "rate and checkpoint")
        sentences.append(
            f"{words.objective(name)}: choosing {chosen} by the validation pairs flatters their accuracy by {mean} "
            f"points on average{spread}. Chosen on half of the validation prompts, a reward model wins {halves[0]} % "
            f"of the pairs there and {halves[1]} % on the other half."
        )
    return tuple(sentences)


def _per_search(search: pl.DataFrame) -> pl.DataFrame:
    return search.unique(["objective", "model_id"], keep="first", maintain_order=True)


def _economy(search: pl.DataFrame) -> tuple[str, ...]:
    known = _per_search(search).filter(pl.col("search_n_steps_full_grid") > 0)
    taken, full = int(known["search_n_steps"].sum()), int(known["search_n_steps_full_grid"].sum())
    if not full or taken >= full:
        return ()
    return (
        f"Stopping the weaker rates early, the searches took {taken:,} optimizer steps: "
        f"{words.percent(taken / full)} of the {full:,} that training every rate to the end would take.",
    )


def _failures(search: pl.DataFrame) -> tuple[str, ...]:
    sentences = []
    failed = search.filter(status="failed")
    if failed.height:
        reasons = [
            f"{row['model_id']}, {words.objective(row['objective'])}, {row['training_run']}: {row['reason'] or '–'}"
            for row in failed.iter_rows(named=True)
        ]
        count = f"{words.plural(failed.height, 'training run')} failed"
        sentences.append(words.sentence(f"{count} ({words.listing(reasons, 10)})"))
    nothing = _per_search(search).filter(search_status="failed")
    if nothing.height:
        names = [f"{row['model_id']} ({words.objective(row['objective'])})" for row in nothing.iter_rows(named=True)]
        sentences.append(f"No reward model came out of the search of {words.listing(names)}.")
    return tuple(sentences)


def _search_figure(part: pl.DataFrame, slug: str, name: str) -> Figure:
    known = part.filter(pl.col("best_validation_accuracy").is_not_null())
    panels = []
    for model_id, rows in parts(known, "model_id"):
        chosen = next(iter(rows.filter("is_selected").to_dicts()), None)
        picked = "none was chosen" if chosen is None else f"chosen: {chosen['learning_rate']:g}"
        values = ", ".join(
            f"{row['learning_rate']:g}: {words.number(row['best_validation_accuracy'])}"
            for row in rows.iter_rows(named=True)
        )
        panels.append(
            Panel(
                title=model_id,
                label=f"Validation accuracy by learning rate, {words.objective(name)}, {model_id}; {picked}. {values}.",
                chart=charts.rate_search(rows, charts.accuracy_range(known)),
            )
        )
    missing = part["model_id"].n_unique() - known["model_id"].n_unique()
    without = f" {words.plural(missing, 'model')} without a checkpoint not drawn." if missing else ""
    return Figure(
        name=f"{slug}_rate_search_{words.slug(name)}",
        title=f"{words.objective(name)}: validation accuracy against the learning rate",
        caption=(
            "Each dot is a training run at its best checkpoint: filled if it was trained to the end, hollow if the "
            "search stopped it early or it failed later. The vermilion diamond became the reward model. Lines are one "
            "standard error from the number of validation pairs; all runs of a model meet the same pairs, so their "
            f"order is surer than the lines make it look. Rates are on a logarithmic axis.{without}"
        ),
        panels=tuple(panels),
        empty=f"{words.objective(name)}: no training run has a checkpoint.",
        key="Diamond: chosen; filled: trained to the end; hollow: stopped early; lines: one standard error",
        columns=3,
        panel_width=300,
    )


def _curves(curves: pl.DataFrame, column: str, slug: str, name: str) -> Figure:
    panels = []
    known = curves.filter(pl.col(column).is_not_null()) if curves.height else curves
    for model_id, rows in parts(known, "model_id") if known.height else ():
        chosen = rows.filter("is_selected")
        ends = f" Chosen run: from {_ends(chosen[column])}." if chosen.height else ""
        runs = words.plural(rows["training_run"].n_unique(), "training run")
        panels.append(
            Panel(
                title=model_id,
                label=(
                    f"Learning curves of {runs} of {model_id}, {words.objective(name)}: "
                    f"{charts.CURVES[column].lower()} by optimizer step.{ends}"
                ),
                chart=charts.learning_curves(rows, column),
            )
        )
    what = "Training loss" if column == "loss" else "Validation accuracy at the saved checkpoints"
    measure = (
        "Mean loss of each step's batch; a run of more than 200 steps is drawn as 200 means of equal stretches."
        if column == "loss"
        else "Share of the validation pairs won."
    )
    return Figure(
        name=f"{slug}_curves_{column}_{words.slug(name)}",
        title=f"{words.objective(name)}: {what[:1].lower()}{what[1:]}",
        caption=(
            f"{measure} Blue: the run that was chosen; grey: the other runs of the search, where they are drawn. "
            "Choose another base model above the chart; the exported picture shows the first."
        ),
        panels=tuple(panels),
        empty=f"{words.objective(name)}: no {what[:1].lower()}{what[1:]} is on record.",
        key="Blue: the chosen run; grey: the other runs of the search",
        panel_width=560,
        choice=True,
        choice_label="Base model",
    )


def _ends(values: pl.Series) -> str:
    return f"{words.number(values[0], 3)} to {words.number(values[-1], 3)}"


def cost_section(costs: pl.DataFrame, slug: str) -> Section:
    """What the study's answers cost; costs: training_marts.run_costs."""
    gpu, device = (float(costs[name].sum()) for name in ("gpu_hours", "device_hours"))
    tokens = int(costs["n_tokens"].sum())
    hours = f"{words.number(gpu)} GPU hours" if gpu else f"{words.number(device, 2)} hours on CPUs, none on GPUs"
    text = f"In all {hours} for {tokens:,} tokens through {words.plural(costs['model_id'].n_unique(), 'model')}."
    priced = costs.filter(pl.col("usd").is_not_null())
    if priced.height:
        usd = words.number(float(priced["usd"].sum()), 2)
        text += f" At {priced['usd_per_gpu_hour'][0]:g} USD per GPU hour that is {usd} USD."
    else:
        text += " No price of a GPU hour is set (dbt variable usd_per_gpu_hour), so no money is named."
    return Section(
        "costs", "What the answers cost", (text,), items=(training_tables.costs(costs, f"{slug}_run_costs"),)
    )

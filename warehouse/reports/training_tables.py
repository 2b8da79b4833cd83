"""Tables of training and evaluation: from a mart's frame to headings and cells."""

from __future__ import annotations

from typing import Any

import polars as pl

from warehouse.reports import words
from warehouse.reports.cells import figure, text
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Cell, Column, Table

JOBS = {
    "train_reward_model": "training",
    "score_completions": "scoring the test set",
    "score_documents": "scoring documents",
    "run_benchmarks": "benchmarks",
}


def searches(frame: pl.DataFrame, name: str, objective: str) -> Table:
    """One row per model of training_marts.rate_search: what was chosen, at what cost, and how much that flatters."""
    rows = tuple(_search(model_id, part) for model_id, part in parts(frame, "model_id"))
    return Table(
        name=name,
        title=f"{words.objective(objective)}: what the search chose",
        caption=(
            "The best checkpoint of the best rate became the reward model. Under its accuracy: the standard error from "
            "the number of pairs. Optimism: accuracy on the half of the validation prompts that was chosen by, minus "
            "that on the other half; so much the choice flatters. Under the number of runs: trained to the end, "
            "stopped early, failed. Steps: those taken, and their share of what the full grid would take."
        ),
        columns=(
            Column("Base model"),
            Column("Learning rate", numeric=True),
            Column("Seed", numeric=True),
            Column("Step", numeric=True, hint="optimizer step of the checkpoint"),
            Column("Validation", numeric=True, hint="validation pairs won, percent"),
            Column("Optimism", numeric=True, hint="points"),
            Column("Runs", numeric=True, hint="training runs"),
            Column("Steps", numeric=True, hint="optimizer steps of all runs"),
        ),
        rows=rows,
        empty=f"No search of {words.objective(objective)} is on record.",
    )


def _search(model_id: str, part: pl.DataFrame) -> tuple[Cell, ...]:
    first = part.row(0, named=True)
    chosen = next(iter(part.filter("is_selected").to_dicts()), None)
    if chosen is None:
        nothing = (text(model_id, note="no reward model"), *(Cell("–") for _ in range(4)))
    else:
        error = words.number(chosen["best_validation_standard_error"])
        nothing = (
            text(model_id),
            Cell(f"{chosen['learning_rate']:g}", chosen["learning_rate"]),
            figure(chosen["seed"], 0),
            figure(chosen["best_step"], 0),
            figure(chosen["best_validation_accuracy"], note=f"± {error}"),
        )
    ends = [part.filter(status=status).height for status in ("finished", "stopped", "failed")]
    return (
        *nothing,
        figure(first["optimism_points"], signed=True),
        figure(part.height, 0, note=" · ".join(map(str, ends))),
        _steps(first["search_n_steps"], first["search_n_steps_full_grid"]),
    )


def _steps(taken: int | None, full: int | None) -> Cell:
    if taken is None or not full:
        return Cell("–")
    return Cell(f"{taken:,}", taken, note=words.percent(taken / full))


def comparisons(frame: pl.DataFrame, name: str, objective: str) -> Table:
    """Each model against its default, pair by pair; frame: training_marts.comparisons of one objective."""
    rows = tuple(
        (
            text(row["model_id"], note=f"against {row['default_model_id']}"),
            text(words.short_size_group(row["size_group"]), sort=row["size_group"]),
            figure(
                row["difference_points"],
                signed=True,
                note=words.interval(row["difference_low"], row["difference_high"], signed=True),
            ),
            figure(row["n_only_model"], 0),
            figure(row["n_only_default"], 0),
            figure(row["n_pairs"], 0),
            Cell(_p(row["mcnemar_p"]), row["mcnemar_p"]),
        )
        for row in frame.iter_rows(named=True)
    )
    return Table(
        name=name,
        title=f"{words.objective(objective)}: pair by pair against the default",
        caption=(
            "Both models on the same pairs. Difference: of the score, in points; under it the 95 % interval when pairs "
            "are drawn anew within each subset (paired bootstrap). Only this, only default: pairs that one of the two "
            "wins and the other does not. p: McNemar's exact test of these two counts; it knows no weights of subsets."
        ),
        columns=(
            Column("Base model"),
            Column("Size group", hint="billions of parameters"),
            Column("Difference", numeric=True, hint="score minus that of the default, points"),
            Column("Only this", numeric=True, hint="pairs that this model alone wins"),
            Column("Only default", numeric=True, hint="pairs that the default alone wins"),
            Column("Pairs", numeric=True, hint="pairs that both have rewards for"),
            Column("p", numeric=True, hint="McNemar's exact test, two-sided"),
        ),
        rows=rows,
        empty=f"No model of {words.objective(objective)} has pairs in common with its default.",
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def subsets(frame: pl.DataFrame, name: str, objective: str) -> Table:
    """One row per subset, one column per model; frame: training_marts.subsets of one objective."""
    models = frame["model_id"].unique().sort().to_list()
    rows = []
    for subset, part in parts(frame, "subset"):
        found = {row["model_id"]: row for row in part.iter_rows(named=True)}
        category = part["category"][0]
        named = "not RewardBench's" if category is None else words.TARGETS.get(category, category)
        rows.append(
            (
                text(subset),
                text(named),
                figure(part["n_examples"][0] or None, 0),
                *(_accuracy(found.get(model_id)) for model_id in models),
            )
        )
    return Table(
        name=name,
        title=f"{words.objective(objective)}: accuracy by subset",
        caption=(
            "Share of the subset's pairs won, in percent. Ties are not won; a pair without a reward counts neither "
            "way. A dash: the test set has no pairs of the subset."
        ),
        columns=(
            Column("Subset"),
            Column("Category"),
            Column("Pairs", numeric=True, hint="pairs that RewardBench has"),
            *(Column(model_id, numeric=True, hint="percent") for model_id in models),
        ),
        rows=tuple(rows),
        empty=f"No pairs of {words.objective(objective)} are on record.",
    )


def _accuracy(row: dict[str, Any] | None) -> Cell:
    if row is None or not row["n_pairs"]:
        return Cell("–")
    notes = [words.plural(row["n_ties"], "tie")] if row["n_ties"] else []
    if row["n_errors"]:
        notes.append(words.plural(row["n_errors"], "error"))
    if row["n_examples"] and row["n_pairs"] != row["n_examples"]:
        notes.append(words.plural(row["n_pairs"], "pair"))
    return figure(row["accuracy"], note=", ".join(notes))


def incomplete(frame: pl.DataFrame, name: str) -> Table:
    """Results that lack pairs, and what is missing; frame: rows of marts.reward_model_results with a reason."""
    rows = tuple(
        (
            text(row["model_id"]),
            text(words.objective(row["objective"])),
            text("yes" if row["is_comparable"] else "no"),
            text(words.sentence(row["status_reason"])),
        )
        for row in frame.iter_rows(named=True)
    )
    return Table(
        name=name,
        title="Incomplete results",
        caption=(
            "What is missing is left out, never counted as lost. Compared: a result is ranked and correlated only if "
            "its model was judged on every pair that any model of its objective was judged on."
        ),
        columns=(Column("Base model"), Column("Objective"), Column("Compared"), Column("What is missing", prose=True)),
        rows=rows,
        empty="Every result is complete.",
    )


def costs(frame: pl.DataFrame, name: str) -> Table:
    """One row per job and model; frame: training_marts.run_costs."""
    priced, on_cpus = frame["usd"].is_not_null().any(), not frame["is_gpu"].all()
    rows = tuple(
        (
            text(row["model_id"]),
            text(JOBS.get(row["job"], row["job"])),
            text(words.OBJECTIVES.get(row["variant"], row["variant"])),
            Cell(f"{row['n_tokens']:,}", row["n_tokens"]),
            figure(row["gpu_hours"], 2),
            *((figure(row["device_hours"], 2),) if on_cpus else ()),
            text(row["device"] if row["n_devices"] == 1 else f"{row['n_devices']} × {row['device']}"),
            figure(row["peak_memory_gib"]),
            figure(row["tokens_per_device_second"], 0),
            *((figure(row["usd"], 2),) if priced else ()),
        )
        for row in frame.iter_rows(named=True)
    )
    return Table(
        name=name,
        title="Costs by job",
        caption=(
            "Training counts every run of the search. Hours are those of all devices together; a job that was resumed "
            "counts all of its parts. Memory: largest in use on a device, GiB. Speed: tokens per second of one device."
        ),
        columns=(
            Column("Base model"),
            Column("Job"),
            Column("For", hint="objective, or engine of document scoring"),
            Column("Tokens", numeric=True),
            Column("GPU hours", numeric=True),
            *((Column("Device hours", numeric=True, hint="GPUs and CPUs"),) if on_cpus else ()),
            Column("Device"),
            Column("Memory", numeric=True, hint="largest in use on a device, GiB"),
            Column("Speed", numeric=True, hint="tokens per second and device"),
            *((Column("USD", numeric=True, hint="GPU hours at the stated price"),) if priced else ()),
        ),
        rows=rows,
        empty="No costs are on record.",
    )

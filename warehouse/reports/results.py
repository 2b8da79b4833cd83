"""All results of a study: what is there, what is missing, pair by pair and subset by subset where items are known."""

from __future__ import annotations

import duckdb
import polars as pl

from warehouse import training_marts
from warehouse.reports import tables, training_tables, words
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Section, Table


def section(
    connection: duckdb.DuckDBPyConnection, study_id: str, frame: pl.DataFrame, models: pl.DataFrame, slug: str
) -> Section:
    """From marts.reward_model_results, marts.base_models, and the item results of training_marts."""
    items: list[Table] = [
        tables.results(part, f"{slug}_results_{words.slug(name)}", name) for name, part in parts(frame, "objective")
    ]
    paragraphs = ["Select a heading to sort by it."] if items else ["The study holds no results."]
    paragraphs += _missing(frame, models)
    incomplete = frame.filter(pl.col("status_reason").is_not_null())
    if incomplete.height:
        items.append(training_tables.incomplete(incomplete, f"{slug}_incomplete"))
    for reader, builder, what in (
        (training_marts.comparisons, training_tables.comparisons, "comparisons"),
        (training_marts.subsets, training_tables.subsets, "subsets"),
    ):
        found = reader(connection, study_id)
        for name, part in parts(found, "objective") if found.height else ():
            items.append(builder(part, f"{slug}_{what}_{words.slug(name)}", name))
    return Section("results", "All results", tuple(paragraphs), items=tuple(items))


def _missing(frame: pl.DataFrame, models: pl.DataFrame) -> list[str]:
    """One sentence per objective with compared models that have no result."""
    compared = models.filter("is_compared")["model_id"].to_list()
    sentences = []
    for name, part in parts(frame, "objective"):
        present = set(part["model_id"])
        missing = [model_id for model_id in compared if model_id not in present]
        if missing:
            count = f"{len(missing)} of {words.plural(len(compared), 'compared model')}"
            sentences.append(f"{words.objective(name)}: no result yet for {count}: {words.listing(missing)}.")
    return sentences

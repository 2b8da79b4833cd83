"""Which base model to take under a size limit: the first three of each limit, with reasons and abstentions."""

from __future__ import annotations

import polars as pl

from warehouse.reports import tables, words
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Section, Table

SHOWN = 3


def section(frame: pl.DataFrame, slug: str) -> Section:
    """From performance_marts.recommendations; a frame without columns is a mart that was not built."""
    title = "What to take under a size limit"
    if not frame.height:
        text = "There are no recommendations for this study: it holds no result and no prediction to rank."
        if not frame.columns:
            text = "There are no recommendations for this study: none have been computed in this warehouse."
        return Section("recommendations", title, (text,))
    ranked = frame.filter(pl.col("rank").is_not_null())
    items: list[Table] = [
        tables.recommendations(part.filter(pl.col("rank") <= SHOWN), f"{slug}_recommendations_{words.slug(name)}", name)
        for name, part in parts(ranked, "objective")
    ]
    abstained = (
        frame.filter(pl.col("rank").is_null())
        .unique(["objective", "model_id", "reason"], keep="last", maintain_order=True)
        .group_by("model_id", "reason", maintain_order=True)
        .agg(pl.col("objective").alias("objectives"))
    )
    if abstained.height:
        items.append(tables.not_recommended(abstained, f"{slug}_not_recommended"))
    return Section("recommendations", title, _paragraphs(frame, ranked, abstained), items=tuple(items))


def _paragraphs(frame: pl.DataFrame, ranked: pl.DataFrame, abstained: pl.DataFrame) -> tuple[str, ...]:
    sentences = []
    for name, part in parts(ranked.filter(rank=1), "objective"):
        # A winner stands once, with the smallest limit that lets it in.
        winners = part.unique("model_id", keep="first", maintain_order=True)
        texts = [
            f"{row['model_id']} ({words.size_limit(row['size_limit_b'])})" for row in winners.iter_rows(named=True)
        ]
        sentences.append(f"{words.objective(name)}: {words.listing(texts)}.")
    first = f"First of their size limits. {' '.join(sentences)}" if sentences else "No model can be recommended."
    top = ranked.filter((pl.col("rank") <= SHOWN) & (pl.col("basis") == "predicted"))["model_id"].n_unique()
    basis = (
        "Every recommended model was measured: no prediction stands among the first three."
        if not top
        else f"{words.plural(top, 'model')} among the first three {'is' if top == 1 else 'are'} predicted and not "
        "measured: see below how far a prediction can be trusted."
    )
    paragraphs = [f"{first} {basis}" if ranked.height else first]
    names = abstained["model_id"].unique(maintain_order=True).to_list()
    if names:
        paragraphs.append(f"No recommendation is given for {words.listing(names)}; the reasons stand below.")
    silent = set(frame["objective"]) - set(ranked["objective"])
    if silent:
        named = words.listing(sorted(words.objective(name) for name in silent))
        paragraphs.append(f"{named}: every model is an abstention, so there is no table.")
    return tuple(paragraphs)

"""Recommended base models under a size limit: the first three of each limit, with reasons and abstentions."""

from __future__ import annotations

import polars as pl

from warehouse.reports import labels, queries
from warehouse.reports.elements import Section, Study
from warehouse.reports.queries import parts
from warehouse.reports.recommended import is_level
from warehouse.reports.tables import MODEL, POINTS, PROSE, SHARE, SIGNED, TEXT, Col, Row, Table

TITLE = "What to choose under a size limit"
SHOWN = 3
"""Models shown per size limit."""


def section(study: Study) -> Section:
    """One table per objective, and one of the models without a recommendation."""
    frame = queries.recommendations(study.connection, study.study_id)
    if not frame.height:
        text = "There are no recommendations for this study yet: the performance model makes them, from its results."
        if not frame.columns:
            text = "There are no recommendations for this study: none have been computed in this warehouse."
        return Section("recommendations", TITLE, (text,))
    ranked = frame.filter(pl.col("rank").is_not_null())
    items = [
        _table(part.filter(pl.col("rank") <= SHOWN), objective, study) for objective, part in parts(ranked, "objective")
    ]
    abstained = (
        frame.filter(pl.col("rank").is_null())
        .unique(["objective", "model_id", "reason"], keep="last", maintain_order=True)
        .group_by("model_id", "reason", maintain_order=True)
        .agg(pl.col("objective").alias("objectives"))
    )
    if abstained.height:
        items.append(_abstentions(abstained, study))
    basis = study.basis
    defaults = queries.near_chance_defaults(study.connection, study.study_id).to_dicts()
    weak = labels.near_chance_defaults(defaults, basis)
    paragraphs = (*_paragraphs(frame, ranked, abstained), *([weak] if weak else []))
    return Section("recommendations", TITLE, paragraphs, items=tuple(items))


def _paragraphs(frame: pl.DataFrame, ranked: pl.DataFrame, abstained: pl.DataFrame) -> tuple[str, ...]:
    sentences = []
    for objective, part in parts(ranked.filter(rank=1), "objective"):
        # A winner is listed once, with the smallest limit that admits it.
        winners = part.unique("model_id", keep="first", maintain_order=True)
        texts = [
            f"{row['model_id']} ({labels.size_limit(row['size_limit_b'])}; "
            f"best in {labels.percent(row['probability_best'])} of draws)"
            for row in winners.to_dicts()
        ]
        sentences.append(f"{labels.objective(objective)}: {labels.listing(texts)}.")
    first = f"First of their size limits. {' '.join(sentences)}" if sentences else "No model can be recommended."
    top = ranked.filter((pl.col("rank") <= SHOWN) & (pl.col("basis") == "predicted"))["model_id"].n_unique()
    basis = "Every recommended model was measured: there is no prediction among the first three."
    if top:
        basis = (
            f"{labels.plural(top, 'model')} among the first three {'is' if top == 1 else 'are'} predicted and not "
            "measured: “Can the result be predicted?” shows how far a prediction can be trusted."
        )
    paragraphs = [f"{first} {basis}" if ranked.height else first]
    names = abstained["model_id"].unique(maintain_order=True).to_list()
    if names:
        paragraphs.append(f"No recommendation is given for {labels.listing(names)}; the reasons are below.")
    silent = set(frame["objective"]) - set(ranked["objective"])
    if silent:
        objectives = labels.listing(sorted(labels.objective(name) for name in silent))
        paragraphs.append(f"{objectives}: every model is an abstention, so there is no table.")
    return tuple(paragraphs)


def _table(frame: pl.DataFrame, objective: str, study: Study) -> Table:
    noise = queries.run_noise(study.connection, study.study_id).filter(objective=objective).to_dicts()
    rows = frame.to_dicts()
    first = {row["size_limit_b"]: row for row in reversed(rows)}
    return Table(
        name=study.name("recommendations", objective),
        title=f"{labels.objective(objective)}: what to choose under each size limit",
        caption=(
            "The first three models up to each number of billion parameters. Under each name: whether its score is "
            "measured, or predicted because no reward model was trained on it. Under the score: its 90 % interval. "
            "Gain: points over the default of the model's own size group. Best: share of draws in which the model is "
            "the best of its limit. Intervals and draws count test questions and training runs; two trainings of one "
            f"base are taken to differ by a standard deviation of {labels.run_noise(noise)}. =: not distinguishable "
            "from the first."
        ),
        rows=rows,
        columns=[
            Col(
                "Size limit",
                lambda row: labels.size_limit(row["size_limit_b"]),
                TEXT,
                "billions of parameters, inclusive, as model names say them",
                sort=_limit,
            ),
            Col("Rank", lambda row: place(row, first[row["size_limit_b"]]), sort=lambda row: row["rank"]),
            Col("Base model", "model_id", MODEL, note=lambda row: labels.basis(row["basis"])),
            Col(
                "Score",
                "expected_score",
                POINTS,
                "expected score, 0-100",
                note=lambda row: labels.interval(row["interval_low"], row["interval_high"]),
                best=lambda row: row["rank"] == 1,
            ),
            Col("Gain", "gain_points_over_default", SIGNED, "points over the default of the model's size group"),
            Col("Best", "probability_best", SHARE, "probability of being the best within the limit"),
            Col("Why", "reason", PROSE),
        ],
        empty=f"No base model can be recommended for {labels.objective(objective)}.",
    )


def place(row: Row, first: Row) -> str:
    """Rank of a model, or = where it is not distinguishable from the first of its limit."""
    return "=" if is_level(row, first) else str(row["rank"])


def _limit(row: Row) -> str:
    return "no limit" if row["size_limit_b"] is None else f"{row['size_limit_b']:g}"


def _abstentions(frame: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("not_recommended"),
        title="No recommendation, and why",
        caption="Models without a comparable result for which no prediction is made: an abstention, not a low score.",
        rows=frame.to_dicts(),
        columns=[
            Col("Base model", "model_id", MODEL),
            Col("Objective", lambda row: labels.listing([labels.objective(name) for name in row["objectives"]])),
            Col("Why", "reason", PROSE),
        ],
    )

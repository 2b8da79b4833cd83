"""What base models make of documents of known domains: only for studies that scored some (paper, Section 5.2)."""

from __future__ import annotations

import duckdb
import polars as pl

from warehouse import document_marts
from warehouse.reports import cells, words
from warehouse.reports.charts import documents as charts
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Column, Figure, Panel, Section, Table

EVERY_DOMAIN = "all"
_ABOUT_SETS = "Scores of this kind are evidence about sets of documents, never about a single one."


def sections(connection: duckdb.DuckDBPyConnection, study_id: str, slug: str) -> tuple[Section, ...]:
    """The section on document scores; none for a study that has no such rows."""
    models = document_marts.scored_models(connection, study_id)
    if not models.height:
        return ()
    return (
        section(
            models,
            document_marts.presence_by_domain(connection, study_id),
            document_marts.distributions(connection, study_id),
            document_marts.distances(connection, study_id),
            slug,
        ),
    )


def section(
    models: pl.DataFrame, presence: pl.DataFrame, distributions: pl.DataFrame, distances: pl.DataFrame, slug: str
) -> Section:
    """Bits per byte, distributions, distances and whose scores stand for whom; the frames are of document_marts."""
    corpus, n_documents = models["corpus"][0], max(models["n_documents"].to_list())
    introduction = (
        f"{words.plural(models.height, 'base model')} read the same sample of documents ({corpus}, {n_documents:,} "
        "documents) and every token was scored by its log-probability. Text of a kind that a model saw much of in "
        f"pre-training tends to score high. {_ABOUT_SETS} A high score may come from such text, from text that is "
        "easy to predict, or from a larger model."
    )
    return Section(
        "documents",
        "What the pre-training text looks like",
        (introduction, *_shared(models), *_failures(models)),
        items=(
            _bits_figure(presence, slug),
            _distribution_figure(distributions, slug),
            _distance_figure(distances, slug),
            _models_table(models, f"{slug}_scored_models"),
        ),
    )


def _shared(models: pl.DataFrame) -> tuple[str, ...]:
    lent = [
        f"{words.listing(row['shared_by'])} with {row['model_id']}"
        for row in models.iter_rows(named=True)
        if row["shared_by"]
    ]
    if not lent:
        return ()
    return (
        "Models of one family with the same number of pre-training tokens share the scores of the largest that was "
        f"scored, as in the paper: {'; '.join(lent)}. The figures show the models that were scored.",
    )


def _failures(models: pl.DataFrame) -> tuple[str, ...]:
    failed = models.filter(pl.col("n_errors") > 0)
    if not failed.height:
        return ()
    counts = [f"{row['model_id']} {row['n_errors']:,}" for row in failed.iter_rows(named=True)]
    return (f"Documents that could not be scored count in no figure: {words.listing(counts)}.",)


def _bits_figure(presence: pl.DataFrame, slug: str) -> Figure:
    domain, panels = charts.bits_range(presence), []
    for name, rows in parts(presence.filter(pl.col("mean_bits_per_byte").is_not_null()), "domain"):
        best = rows.sort("mean_bits_per_byte", "model_id").row(0, named=True)
        panels.append(
            Panel(
                title=_domain(name),
                label=(
                    f"Bits per byte of {words.plural(rows.height, 'base model')}, {_domain(name)}. Lowest: "
                    f"{best['model_id']}, {words.number(best['mean_bits_per_byte'], 2)}."
                ),
                chart=charts.bits_dots(rows, domain),
            )
        )
    return Figure(
        name=f"{slug}_bits_per_byte",
        title="Bits per byte by domain",
        caption=(
            "Mean over documents of the bits that a model needs per byte of text: comparable between models with "
            "different tokenizers, and the smaller, the better the text is predicted. Lines are 95 % intervals over "
            "documents; all documents count alike, so in the panel of all documents a domain weighs as it has "
            f"documents. Models are in the order of that panel. {_ABOUT_SETS}"
        ),
        panels=tuple(panels),
        empty="No bits per byte are stored.",
        key="Smaller: better predicted; lines: 95 % intervals over documents",
        columns=3,
        panel_width=300,
    )


def _distribution_figure(distributions: pl.DataFrame, slug: str) -> Figure:
    panels, left_out = [], 0
    for name, rows in parts(distributions, "domain") if distributions.height else ():
        shown = rows["model_id"].n_unique()
        left_out = rows["n_models"][0] - shown
        panels.append(
            Panel(
                title=_domain(name),
                label=(
                    f"Distribution of the presence scores of {words.plural(shown, 'base model')}, {_domain(name)}, "
                    f"between {words.number(rows['bin_low'].min(), 1)} and {words.number(rows['bin_high'].max(), 1)}."  # type: ignore[arg-type]
                ),
                chart=charts.density_lines(rows),
            )
        )
    more = f" {left_out} further models are in the database." if left_out else ""
    return Figure(
        name=f"{slug}_presence_scores",
        title="Distribution of presence scores by domain",
        caption=(
            "Each row is a base model: the density of the mean log-probability of a token over its documents, on bins "
            "that are the same for all models of a panel; the dot is the median, and the height is to the same scale "
            "within a panel. The outermost hundredth of all documents on either side is not drawn. Presence scores "
            "are per token, so they compare less well between tokenizers than bits per byte do. "
            f"{_ABOUT_SETS} Compare Figure 7 of the paper.{more}"
        ),
        panels=tuple(panels),
        empty="No distributions are stored.",
        key="Rows: base models; height: density of documents; dot: median",
        columns=3,
        panel_width=300,
    )


def _distance_figure(distances: pl.DataFrame, slug: str) -> Figure:
    panels = []
    for name, rows in parts(distances, "domain") if distances.height else ():
        near, far = (rows.sort("distance", "model_a", "model_b").row(place, named=True) for place in (0, -1))
        said = [
            f"{row['model_a']} and {row['model_b']} {words.number(row['distance'], 3)} (floor "
            f"{words.number(row['null_floor'], 3)})"
            for row in (near, far)
        ]
        panels.append(
            Panel(
                title=_domain(name),
                label=(
                    f"Heat map of the Jensen-Shannon distances of {words.plural(rows.height, 'pair')} of base models, "
                    f"{_domain(name)}. Smallest: {said[0]}; largest: {said[1]}."
                ),
                chart=charts.distance_map(rows),
            )
        )
    return Figure(
        name=f"{slug}_distances",
        title="Distance between base models",
        caption=(
            "Square root of the Jensen-Shannon divergence (base 2) between two models' presence scores of the same "
            f"documents: 0 is alike, 1 has nothing in common. {_floor(distances)} A ring marks a pair whose interval "
            "reaches zero: chance explains the distance. The intervals take the bias of the distance out and draw the "
            f"same documents for both models. {_flags(distances)} A difference can come from other pre-training text, "
            f"but also from size or tokenizer. {_ABOUT_SETS} Compare Figure 8 of the paper. Choose a domain above; the "
            "exported picture shows all documents."
        ),
        panels=tuple(panels),
        empty="One base model alone was scored, so there is no distance to show.",
        key="0: alike; ring: no more than chance; °: fewer than 10,000 documents",
        panel_width=620,
        choice=True,
        choice_label="Domain",
    )


def _floor(distances: pl.DataFrame) -> str:
    if not distances.height:
        return ""
    whole = distances.filter(domain=EVERY_DOMAIN)
    low, high = (words.number(value, 3) for value in (whole["null_floor"].min(), whole["null_floor"].max()))  # type: ignore[arg-type]
    spread = low if low == high else f"{low} to {high}"
    return (
        f"Two samples of one distribution would already show {spread} over all documents (null floor: documents "
        "changing sides at random), more in a single domain."
    )


def _flags(distances: pl.DataFrame) -> str:
    if not distances.height or not distances["is_flagged"].any():
        return ""
    which = "every pair here has" if distances["is_flagged"].all() else "these pairs have"
    return f"Degree signs: {which} fewer than 10,000 documents on a side, and the distance is mostly noise."


def _models_table(models: pl.DataFrame, name: str) -> Table:
    rows = [
        (
            cells.text(row["model_id"]),
            cells.text(words.listing(row["shared_by"]) or "–"),
            cells.text(row["engine"]),
            cells.figure(row["n_documents"], 0),
            cells.figure(row["n_errors"], 0),
            cells.figure(row["n_truncated"], 0),
        )
        for row in models.iter_rows(named=True)
    ]
    return Table(
        name=name,
        title="Models that were scored, and who shares their scores",
        caption="One engine per model; documents beyond the token limit are scored up to it.",
        columns=(
            Column("Base model"),
            Column("Its scores also stand for", prose=True),
            Column("Engine"),
            Column("Documents", numeric=True),
            Column("Not scored", numeric=True),
            Column("Cut at the limit", numeric=True),
        ),
        rows=tuple(rows),
        empty="",
    )


def _domain(name: str) -> str:
    return "all documents" if name == EVERY_DOMAIN else name

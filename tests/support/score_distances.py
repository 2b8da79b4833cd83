"""Distances of simulated scores by the project's own SQL: pairs of models whose true distance is known."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from scipy.stats import norm

LOW, PER_UNIT = -20, 200
"""Fine grid of the presence score."""
MEAN, SPREAD = -3.0, 0.8
"""Of the first model's scores, which are normal, in nats."""
MODELS = ("int_score_cells", "int_score_histograms", "int_score_distances", "int_score_wasserstein")


def simulated_cells(rng: np.random.Generator, n_documents: int, shift: float, n_pairs: int) -> pl.DataFrame:
    """Rows of int_fine_histograms: a study per pair, model b's scores a shift (in spreads) above model a's."""
    edges = LOW + np.arange(-20 * LOW * 10 + 1) / PER_UNIT
    frames = []
    for model, mean in (("a", MEAN), ("b", MEAN + shift * SPREAD)):
        counts = rng.multinomial(n_documents, np.diff(norm.cdf(edges, mean, SPREAD)), n_pairs)
        study, cell = np.nonzero(counts)
        columns = {"study": study, "cell": cell.astype(np.int32), "n": counts[study, cell]}
        frames.append(pl.DataFrame(columns).with_columns(model_id=pl.lit(model)))
    name = pl.format("{}/{}/{}", pl.lit(n_documents), pl.lit(shift), "study")
    return pl.concat(frames).with_columns(
        name.alias("study_id"), domain=pl.lit("Book"), score_kind=pl.lit("presence_score")
    )


def by_the_projects_sql(target: Path, fine: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Rows of int_score_distances with wasserstein_1 and the true distance on the bins of each row.

    target: dbt's folder, where the models are compiled. fine: of `simulated_cells`.
    """
    compiled = target / "compiled" / "rewardbase" / "models" / "intermediate"
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("create schema intermediate; create schema staging")
        connection.execute("create table intermediate.int_fine_histograms as select * from fine")
        grids = (compiled / "int_score_grids.sql").read_text()
        connection.execute(f"create table intermediate.int_score_grids as {grids}")
        connection.execute(
            "create table staging.stg_score_bins (study_id varchar, score_kind varchar, low double, high double, "
            "n_bins bigint)"
        )
        for name in MODELS:
            connection.execute(f"create table intermediate.{name} as {(compiled / f'{name}.sql').read_text()}")
        rows = connection.execute(
            "select * from intermediate.int_score_distances inner join intermediate.int_score_wasserstein using "
            "(study_id, score_kind, domain, model_a, model_b) where domain = 'Book' order by study_id"
        ).pl()
        bins = connection.execute(
            "select study_id, list(bin_low order by bin) as edges from intermediate.int_score_histograms "
            "where domain = 'Book' and model_id = 'a' group by study_id"
        ).pl()
    shifts = pl.col("study_id").str.split("/").list.get(1).cast(pl.Float64).alias("shift")
    rows = rows.join(bins, on="study_id").with_columns(shifts)
    truth = [true_distance(np.array(edges), shift) for edges, shift in rows.select("edges", "shift").iter_rows()]
    return rows.drop("edges").with_columns(truth=pl.Series(truth))


def true_distance(lower_edges: np.ndarray, shift: float) -> float:
    """Jensen-Shannon distance of the two normal distributions on bins that reach to infinity at both ends."""
    edges = np.array([-np.inf, *lower_edges[1:], np.inf])
    p, q = (np.diff(norm.cdf(edges, MEAN + by * SPREAD, SPREAD)) for by in (0, shift))
    logarithms = [np.log2(2 * side / (p + q), where=side > 0, out=np.zeros_like(side)) for side in (p, q)]
    return float(np.sqrt(max(0.0, (p @ logarithms[0] + q @ logarithms[1]) / 2)))


def coverage(rows: pl.DataFrame) -> pl.DataFrame:
    """By documents and shift: share of intervals that hold the truth, corrected and around the plain distance."""
    half = pl.col("distance_high") ** 2 - pl.col("distance") ** 2 + pl.col("null_floor") ** 2
    return (
        rows.with_columns(n=pl.col("n_a"))
        .group_by("n", "shift")
        .agg(
            ((pl.col("distance_low") <= pl.col("truth")) & (pl.col("truth") <= pl.col("distance_high")))
            .mean()
            .alias("covered"),
            ((pl.col("truth") ** 2 - pl.col("distance") ** 2).abs() <= half).mean().alias("covered_plain"),
            pl.col("truth", "distance", "null_floor", "distance_corrected").mean(),
            (pl.col("distance_low") > 0).mean().alias("told_apart"),
        )
        .sort("n", "shift")
    )

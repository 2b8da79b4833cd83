"""Histograms of the scores on bins common to all models of a study: edges are pooled quantiles, or equally wide."""

import polars as pl

from models_train.mix.tables import HISTOGRAM_SCHEMA, histogram_rows


def model(dbt, session):
    dbt.config(materialized="table")
    n_bins = dbt.config.get("n_bins")
    samples = dbt.ref("int_sorted_scores").sql_query()
    groups = session.execute(f"select distinct study_id, score_kind from ({samples}) order by all").fetchall()
    mine = f"select model_id, domain, scores, blocks from ({samples}) where study_id = ? and score_kind = ?"
    found = [pl.DataFrame(schema={"study_id": pl.String, "score_kind": pl.String} | HISTOGRAM_SCHEMA)]
    for study, kind in groups:
        rows = histogram_rows(session.execute(mine, [study, kind]).to_arrow_table(), n_bins)
        found.append(rows.select(pl.lit(study).alias("study_id"), pl.lit(kind).alias("score_kind"), pl.all()))
    return pl.concat(found).to_arrow()

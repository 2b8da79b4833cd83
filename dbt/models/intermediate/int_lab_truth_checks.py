"""Estimates against the truth of every lab: rank correlations over resampled models."""

import polars as pl

from models_train.synthetic.checks import SCHEMA, check_rows


def model(dbt, session):
    dbt.config(materialized="table")
    kinds, resamples = dbt.config.get("score_kinds"), dbt.config.get("resamples")
    weights = dbt.ref("stg_lab_attribute_weights").sql_query()
    scores = dbt.ref("int_lab_domain_scores").sql_query()
    histograms = dbt.ref("int_score_histograms").sql_query()
    searches = dbt.ref("int_lab_searches").sql_query()
    found = [pl.DataFrame(schema={"study_id": pl.String} | SCHEMA)]
    for (study,) in session.execute(f"select distinct study_id from ({weights}) order by all").fetchall():
        frames = [
            session.execute(f"select * from ({table}) where study_id = ? {more} order by all", [study]).pl()
            for table, more in (
                (scores, ""),
                (histograms, "and binning = 'quantile'"),
                (searches, ""),
                (weights, ""),
            )
        ]
        rows = check_rows(*frames, kinds, resamples, study)
        found.append(rows.select(pl.lit(study).alias("study_id"), pl.all()))
    return pl.concat(found).to_arrow()

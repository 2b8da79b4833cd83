"""Jensen-Shannon distance, null floor and interval of every pair of models with scores of their own."""

import polars as pl

from models_train.mix.tables import DISTANCE_SCHEMA, distance_rows


def model(dbt, session):
    dbt.config(materialized="table")
    kinds = dbt.config.get("score_kinds")
    resamples, permutations = dbt.config.get("resamples"), dbt.config.get("permutations")
    samples = dbt.ref("int_sorted_scores").sql_query()
    histograms = dbt.ref("int_score_histograms").sql_query()
    groups = session.execute(f"select distinct study_id, score_kind from ({histograms}) order by all").fetchall()
    mine = f"select model_id, domain, scores, blocks from ({samples}) where study_id = ? and score_kind = ?"
    bins = f"select * exclude (study_id, score_kind) from ({histograms}) where study_id = ? and score_kind = ?"
    found = [pl.DataFrame(schema={"study_id": pl.String, "score_kind": pl.String} | DISTANCE_SCHEMA)]
    for study, kind in groups:
        if kind not in kinds:
            continue
        histogram, sorted_scores = (session.execute(query, [study, kind]).to_arrow_table() for query in (bins, mine))
        rows = distance_rows(pl.from_arrow(histogram), sorted_scores, resamples, permutations, f"{study}/{kind}")
        found.append(rows.select(pl.lit(study).alias("study_id"), pl.lit(kind).alias("score_kind"), pl.all()))
    return pl.concat(found).to_arrow()

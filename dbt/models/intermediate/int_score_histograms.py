"""Histograms of the scores on bins common to all models of a study: edges are pooled quantiles, or equally wide."""

from models_train.mix import tables
from models_train.mix.tables import labelled, one_table


def model(dbt, session):
    dbt.config(materialized="table")
    n_bins = dbt.config.get("n_bins")
    samples = dbt.ref("int_sorted_scores").sql_query()
    groups = session.execute(f"select distinct study_id, score_kind from ({samples}) order by all").fetchall()
    mine = f"select model_id, domain, scores, blocks from ({samples}) where study_id = ? and score_kind = ?"
    found = []
    for study, kind in groups:
        rows = tables.histogram_rows(session.execute(mine, [study, kind]).to_arrow_table(), n_bins)
        found.append(labelled(rows, study_id=study, score_kind=kind))
    return one_table(found, tables.HISTOGRAM_SCHEMA, "study_id", "score_kind")

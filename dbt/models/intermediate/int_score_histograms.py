"""Histograms of the scores on bins common to all models of a study: edges are pooled quantiles, or equally wide."""

from models_train.mix.ahead import one_ahead
from models_train.mix.rows import labelled, one_table


def model(dbt, session):
    dbt.config(materialized="table")
    n_bins = dbt.config.get("n_bins")
    samples = dbt.ref("int_sorted_scores").sql_query()
    groups = session.execute(f"select distinct study_id, score_kind from ({samples}) order by all").fetchall()
    mine = f"select model_id, domain, scores, blocks from ({samples}) where study_id = ? and score_kind = ?"
    read = one_ahead(lambda *group: session.execute(mine, group).to_arrow_table(), groups)
    # Only now, for loading compiled code takes as long as reading does.
    from models_train.mix import tables

    if groups:
        tables.load_loops()
    found = [
        labelled(tables.histogram_rows(scores, n_bins), study_id=study, score_kind=kind)
        for (study, kind), scores in zip(groups, read, strict=True)
    ]
    return one_table(found, tables.HISTOGRAM_SCHEMA, "study_id", "score_kind")

"""Jensen-Shannon distance, null floor and interval of every pair of models with scores of their own."""

from models_train.mix import tables
from models_train.mix.tables import labelled, one_table


def model(dbt, session):
    dbt.config(materialized="table")
    kinds = dbt.config.get("score_kinds")
    resamples, permutations = dbt.config.get("resamples"), dbt.config.get("permutations")
    samples = dbt.ref("int_sorted_scores").sql_query()
    histograms = dbt.ref("int_score_histograms").sql_query()
    groups = session.execute(f"select distinct study_id, score_kind from ({histograms}) order by all").fetchall()
    groups = [(study, kind) for study, kind in groups if kind in kinds]
    mine = f"select model_id, domain, scores, blocks from ({samples}) where study_id = ? and score_kind = ?"
    bins = f"select * exclude (study_id, score_kind) from ({histograms}) where study_id = ? and score_kind = ?"
    found = []
    for group in groups:
        rows = tables.distance_rows(
            session.execute(bins, group).to_arrow_table(),
            session.execute(mine, group).to_arrow_table(),
            resamples,
            permutations,
            "/".join(group),
        )
        found.append(labelled(rows, study_id=group[0], score_kind=group[1]))
    return one_table(found, tables.DISTANCE_SCHEMA, "study_id", "score_kind")

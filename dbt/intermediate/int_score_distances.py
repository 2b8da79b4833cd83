"""Jensen-Shannon distance, null floor and interval of every pair of models with scores of their own."""

from models_train.mix import tables
from models_train.mix.ahead import one_ahead
from models_train.mix.rows import labelled, one_table


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
    read = one_ahead(lambda *group: [session.execute(query, group).to_arrow_table() for query in (bins, mine)], groups)
    found = [
        labelled(
            tables.distance_rows(*tables_read, resamples, permutations, f"{study}/{kind}"),
            study_id=study,
            score_kind=kind,
        )
        for (study, kind), tables_read in zip(groups, read, strict=True)
    ]
    return one_table(found, tables.DISTANCE_SCHEMA, "study_id", "score_kind")

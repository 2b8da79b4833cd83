"""Wasserstein-1 and paired Spearman of every pair of models with scores of their own."""

from models_train.mix import tables
from models_train.mix.agreement import AlignedScores
from models_train.mix.tables import labelled, one_table


def model(dbt, session):
    dbt.config(materialized="table")
    kinds = dbt.config.get("score_kinds")
    donors = dbt.ref("int_score_donors").sql_query()
    scores = dbt.ref("stg_document_scores").sql_query()
    wanted = f"select distinct donor_model_id, corpus, engine from ({donors}) where study_id = ? order by all"
    found = []
    for (study,) in session.execute(f"select distinct study_id from ({donors}) order by all").fetchall():
        scorings = session.execute(wanted, [study]).fetchall()
        for kind in kinds:
            query = f"""
                select model_id, domain, list(hash(document_id)) as keys, list({kind}) as scores
                from ({scores})
                where study_id = ? and model_id = ? and corpus = ? and engine = ?
                    and status = 'ok' and {kind} is not null
                group by model_id, domain
            """
            aligned = AlignedScores()
            for scoring in scorings:
                aligned.add(session.execute(query, [study, *scoring]).to_arrow_table())
            found.append(labelled(tables.agreement_rows(aligned), study_id=study, score_kind=kind))
    return one_table(found, tables.AGREEMENT_SCHEMA, "study_id", "score_kind")

"""The scores of every donor, sorted, per domain and kind of score: read once per scoring, used for all bins."""

from concurrent.futures import ThreadPoolExecutor

from models_train.mix.samples import LAYOUT, N_BLOCKS, SORTED_SCHEMA, sort_documents
from models_train.mix.tables import labelled, one_table


def model(dbt, session):
    dbt.config(materialized="incremental", incremental_strategy="append")
    kinds = dbt.config.get("score_kinds")
    donors = dbt.ref("int_score_donors").sql_query()
    scores = dbt.ref("stg_document_scores").sql_query()
    wanted = f"select distinct study_id, donor_model_id, corpus, engine, content from ({donors})"
    if dbt.is_incremental:
        wanted += f" where content || '/{LAYOUT}' not in (select made_of from {dbt.this})"
    query = f"""
        select domain, (hash(document_id) % {N_BLOCKS})::utinyint as block,
            {", ".join(f"{kind}::float as {kind}" for kind in kinds)}
        from ({scores})
        where study_id = ? and model_id = ? and corpus = ? and engine = ? and status = 'ok'
    """
    with ThreadPoolExecutor() as pool:  # one scoring is sorted while the next is read
        waiting = []
        for *scoring, content in session.execute(wanted + " order by all").fetchall():
            documents = session.execute(query, scoring).to_arrow_table()
            waiting.append((scoring, content, pool.submit(sort_documents, documents)))
        found = [
            labelled(rows.result(), study_id=scoring[0], model_id=scoring[1], made_of=f"{content}/{LAYOUT}")
            for scoring, content, rows in waiting
        ]
    return one_table(found, SORTED_SCHEMA, "study_id", "model_id", "made_of")

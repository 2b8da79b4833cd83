"""The scores of every donor, sorted, per domain and kind of score: read once per scoring, used for all bins."""

import pyarrow as pa

from models_train.mix.samples import LAYOUT, N_BLOCKS, SORTED_SCHEMA, sort_documents


def model(dbt, session):
    dbt.config(materialized="incremental", incremental_strategy="append")
    kinds = dbt.config.get("score_kinds")
    donors = dbt.ref("int_score_donors").sql_query()
    scores = dbt.ref("stg_document_scores").sql_query()
    wanted = f"select distinct study_id, donor_model_id, corpus, engine, content from ({donors})"
    if dbt.is_incremental:
        wanted += f" where content || '/{LAYOUT}' not in (select made_of from {dbt.this})"
    floats = ", ".join(f"{kind} := {kind}::float" for kind in kinds)
    documents = f"""
        select
            domain,
            list(struct_pack(block := (hash(document_id) % {N_BLOCKS})::utinyint, {floats})) as documents
        from ({scores})
        where study_id = ? and model_id = ? and corpus = ? and engine = ? and status = 'ok'
        group by domain
    """
    own = ("study_id", "model_id", "made_of")
    found = [pa.schema([*((name, pa.string()) for name in own), *SORTED_SCHEMA]).empty_table()]
    for *scoring, content in session.execute(wanted + " order by all").fetchall():
        rows = sort_documents(session.execute(documents, scoring).to_arrow_table(), kinds)
        values = (scoring[0], scoring[1], f"{content}/{LAYOUT}")
        columns = [pa.array([value] * rows.num_rows, pa.string()) for value in values]
        found.append(pa.table([*columns, *rows.columns], schema=found[0].schema))
    return pa.concat_tables(found)

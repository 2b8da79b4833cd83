"""The scores of every donor, sorted, per domain and kind of score: read once per scoring, used for all bins."""

from concurrent.futures import ThreadPoolExecutor

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
    mine = f"from ({scores}) where study_id = ? and model_id = ? and corpus = ? and engine = ? and status = 'ok'"
    counts = f"select {', '.join(f'count({kind})' for kind in kinds)} {mine}"
    own = ("study_id", "model_id", "made_of")
    found = [pa.schema([*((name, pa.string()) for name in own), *SORTED_SCHEMA]).empty_table()]
    with ThreadPoolExecutor() as pool:  # one scoring is sorted while the next is read
        waiting = []
        for *scoring, content in session.execute(wanted + " order by all").fetchall():
            present = [kind for kind, n in zip(kinds, session.execute(counts, scoring).fetchone(), strict=True) if n]
            fields = [
                f"block := (hash(document_id) % {N_BLOCKS})::utinyint",
                *(f"{kind} := {kind}::float" for kind in present),
            ]
            query = f"select domain, list(struct_pack({', '.join(fields)})) as documents {mine} group by domain"
            documents = session.execute(query, scoring).to_arrow_table()
            waiting.append((scoring[:2], content, pool.submit(sort_documents, documents, present)))
        for (study, model_id), content, rows in waiting:
            values = (study, model_id, f"{content}/{LAYOUT}")
            columns = [pa.array([value] * rows.result().num_rows, pa.string()) for value in values]
            found.append(pa.table([*columns, *rows.result().columns], schema=found[0].schema))
    return pa.concat_tables(found)

"""Documents of every donor on the fine grid of each kind of score, counted once per scoring."""

import pyarrow as pa

SCHEMA = pa.schema(
    {name: pa.string() for name in ("study_id", "model_id", "made_of", "domain", "score_kind")}
    | {"cell": pa.int32(), "n": pa.int64()}
)


def model(dbt, session):
    dbt.config(materialized="incremental", incremental_strategy="append")
    donors, scores = dbt.ref("int_score_donors").sql_query(), dbt.ref("stg_document_scores").sql_query()
    grids = session.execute(f"select * from ({dbt.ref('int_score_grids').sql_query()}) order by all").fetchall()
    version = session.execute("select md5(?)[:8]", [str(grids)]).fetchall()[0][0]
    wanted = f"""
        select distinct study_id, donor_model_id, content || '/{version}' as made_of, corpus, engine from ({donors})
    """
    if dbt.is_incremental:
        wanted = f"select * from ({wanted}) where made_of not in (select made_of from {dbt.this})"
    # One scoring at a time: named in the filter, it is read without the rest, and counted by two columns only.
    counts = " union all ".join(
        f"""
        select $study as study_id, $name as model_id, $made_of as made_of, domain, '{kind}' as score_kind,
            greatest(0, least({n_cells - 1}, floor(({kind} - {low}) * {per_unit})))::integer as cell, count(*) as n
        from ({scores})
        where study_id = $study and model_id = $name and corpus = $corpus and engine = $engine and status = 'ok'
            and {kind} is not null
        group by domain, cell
        """
        for kind, low, per_unit, n_cells in grids
    )
    found = [
        session.execute(counts, dict(zip(("study", "name", "made_of", "corpus", "engine"), scoring, strict=True)))
        .to_arrow_table()
        .cast(SCHEMA)
        for scoring in session.execute(wanted + " order by all").fetchall()
    ]
    return pa.concat_tables([SCHEMA.empty_table(), *found])

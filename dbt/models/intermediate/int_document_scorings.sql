with samples as (
    select
        study_id,
        corpus,
        concat_ws(':', count(*), bit_xor(hash(document_id))) as documents
    from {{ ref('stg_documents') }}
    group by study_id, corpus
),

scorings as (
    select
        runs.study_id,
        runs.model_id,
        runs.corpus,
        runs.engine,
        sum(runs.n_documents)::bigint as n_documents,
        sum(runs.n_ok)::bigint as n_ok,
        md5(concat_ws(
            '/', runs.study_id, runs.model_id, runs.corpus, runs.engine, any_value(samples.documents),
            string_agg(concat_ws(':', runs.run_id, runs.n_documents, runs.n_ok), ',' order by runs.run_id)
        )) as content
    from {{ ref('int_scored_runs') }} as runs
    left join samples using (study_id, corpus)
    group by runs.study_id, runs.model_id, runs.corpus, runs.engine
),

-- Scores of different corpora are never pooled: a study uses the corpus that most models were scored on.
corpora as (
    select
        study_id,
        corpus,
        row_number() over (
            partition by study_id
            order by count(distinct model_id) filter (where n_ok > 0) desc, sum(n_ok) desc, corpus asc
        ) as preference
    from scorings
    group by study_id, corpus
),

-- Nor are scores of two engines: packed before vllm, an engine without any score last.
ranked as (
    select
        scorings.*,
        corpora.preference as corpus_preference,
        row_number() over (
            partition by scorings.study_id, scorings.model_id, scorings.corpus
            order by
                (scorings.n_ok = 0)::integer asc,
                case scorings.engine when 'packed' then 1 when 'vllm' then 2 else 3 end asc,
                scorings.engine asc
        ) as engine_preference
    from scorings
    inner join corpora using (study_id, corpus)
)

select
    study_id,
    model_id,
    corpus,
    engine,
    n_documents,
    n_ok,
    content,
    corpus_preference = 1 and engine_preference = 1 and n_ok > 0 as is_used
from ranked

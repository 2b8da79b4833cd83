select
    'published' as study_id,
    model_id,
    benchmark,
    metric,
    value,
    shots,
    pipeline,
    source_repo,
    source_path,
    source_commit,
    source_benchmark,
    match,
    note,
    null as standard_error,
    null as n_examples,
    contains(coalesce(note, ''), 'preferred entry') as is_preferred_entry
from {{ ref('benchmark_results') }}
where {{ listed_by_published('benchmark_results') }}
union all by name
-- Values that a study file states of its candidates, runs of lm_eval, and imported result files. A run made here wins
-- over other values that match equally well, since its data and settings are known.
select
    study_id,
    model_id,
    benchmark,
    metric,
    value,
    shots,
    pipeline,
    source as source_repo,
    null as source_path,
    null as source_commit,
    null as source_benchmark,
    match,
    null as note,
    standard_error,
    n_examples,
    starts_with(written_by, 'run of ') as is_preferred_entry
from {{ source('raw', 'benchmark_results') }}

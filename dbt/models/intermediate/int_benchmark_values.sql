-- Candidates for the value of a benchmark: never a duplicate entry; a loose match only where the study allows it.
with candidates as (
    select
        results.*,
        metrics.metric_priority,
        case results.match when 'exact' then 1 when 'close' then 2 when 'loose' then 3 end as match_rank
    from {{ ref('stg_benchmark_results') }} as results
    inner join {{ ref('stg_benchmarks') }} using (study_id, benchmark)
    inner join {{ ref('stg_studies') }} as studies using (study_id)
    inner join {{ ref('stg_benchmark_metrics') }} as metrics using (study_id, benchmark, metric)
    where
        results.match in ('exact', 'close')
        or (results.match = 'loose' and studies.use_loose_benchmarks)
)

select
    study_id,
    model_id,
    benchmark,
    value,
    metric,
    match,
    shots,
    source_repo,
    source_path,
    source_commit,
    source_benchmark,
    count(*) over (partition by study_id, model_id, benchmark) as n_candidates
from candidates
-- The rule, in this order: better match, preferred metric of the benchmark, preferred entry of a leaderboard
-- or a run made here; then names, so that the choice never depends on the order of rows.
qualify
    row_number() over (
        partition by study_id, model_id, benchmark
        order by
            match_rank asc,
            metric_priority asc,
            is_preferred_entry desc,
            source_repo asc,
            source_path asc,
            source_benchmark asc,
            source_commit asc,
            shots asc,
            coalesce(note, '') asc,
            value asc
    ) = 1

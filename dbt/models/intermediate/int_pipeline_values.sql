-- Values that may be used: never a duplicate entry; a loose match only where the study allows it.
with usable as (
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
),

-- The pipelines that a value without one could come from: the same metric, and the same shots where it states them.
possible as (
    select
        unstated.study_id,
        unstated.benchmark,
        unstated.metric,
        unstated.shots,
        case when count(distinct known.pipeline) = 1 then min(known.pipeline) end as only_pipeline
    from usable as unstated
    inner join usable as known
        on
            unstated.study_id = known.study_id
            and unstated.benchmark = known.benchmark
            and unstated.metric = known.metric
            and (unstated.shots is null or unstated.shots = known.shots)
    where unstated.pipeline is null and known.pipeline is not null
    group by unstated.study_id, unstated.benchmark, unstated.metric, unstated.shots
),

-- A pipeline that stays unknown is one of its own, which no other value is compared with.
of_a_pipeline as (
    select
        usable.* exclude (pipeline),
        coalesce(usable.pipeline, possible.only_pipeline, 'not stated: ' || usable.source_repo) as pipeline
    from usable
    left join possible
        on
            usable.study_id = possible.study_id
            and usable.benchmark = possible.benchmark
            and usable.metric = possible.metric
            and usable.shots is not distinct from possible.shots
),

-- Several values of a model in one pipeline: the better match, then the preferred entry of a leaderboard or a run made
-- here; of those that are left, the median.
preferred as (
    select * from of_a_pipeline
    qualify
        rank() over (
            partition by study_id, model_id, benchmark, pipeline
            order by match_rank asc, is_preferred_entry desc
        ) = 1
)

select
    study_id,
    model_id,
    benchmark as feature,
    pipeline,
    median(value) as measured_value,
    string_agg(distinct metric, ', ' order by metric) as metric,
    string_agg(distinct shots, ', ' order by shots) as shots,
    any_value(match) as match,
    string_agg(
        distinct concat_ws('@', source_repo, source_commit), ', ' order by concat_ws('@', source_repo, source_commit)
    ) as source,
    min(metric_priority) as metric_priority
from preferred
group by study_id, model_id, benchmark, pipeline

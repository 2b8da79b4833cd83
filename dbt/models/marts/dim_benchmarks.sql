with models as (
    select
        study_id,
        model_id
    from {{ ref('int_base_models') }}
    where is_compared
),

chosen as (
    select
        chosen.study_id,
        chosen.benchmark,
        count(*) as n_models,
        count(*) filter (where not chosen.is_main_pipeline) as n_joined,
        count(*) filter (where chosen.match = 'exact') as n_exact,
        count(*) filter (where chosen.match = 'close') as n_close
    from {{ ref('int_benchmark_values') }} as chosen
    inner join models using (study_id, model_id)
    group by chosen.study_id, chosen.benchmark
),

main as (
    select
        study_id,
        feature as benchmark,
        pipeline as main_pipeline
    from {{ ref('int_pipeline_offsets') }}
    where is_main_pipeline
),

loose as (
    select
        results.study_id,
        results.benchmark,
        count(distinct results.model_id) as n_loose
    from {{ ref('stg_benchmark_results') }} as results
    inner join models using (study_id, model_id)
    where results.match = 'loose'
    group by results.study_id, results.benchmark
)

select
    benchmarks.study_id,
    benchmarks.benchmark,
    benchmarks.framework,
    benchmarks.topic,
    benchmarks.shots,
    benchmarks.model_families,
    benchmarks.citation,
    main.main_pipeline,
    coalesce(chosen.n_models, 0)::integer as n_models,
    coalesce(chosen.n_joined, 0)::integer as n_joined,
    coalesce(chosen.n_exact, 0)::integer as n_exact,
    coalesce(chosen.n_close, 0)::integer as n_close,
    coalesce(loose.n_loose, 0)::integer as n_loose,
    benchmarks.note
from {{ ref('stg_benchmarks') }} as benchmarks
left join chosen using (study_id, benchmark)
left join main using (study_id, benchmark)
left join loose using (study_id, benchmark)

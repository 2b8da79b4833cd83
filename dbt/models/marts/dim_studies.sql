with models as (
    select
        study_id,
        count(*) as n_models
    from {{ ref('int_base_models') }}
    where is_compared
    group by study_id
)

select
    studies.study_id,
    studies.title,
    studies.synthetic,
    studies.source,
    coalesce(models.n_models, 0)::integer as n_models,
    answers.benchmark as answer_benchmark,
    answers.chance::double as answer_chance
from {{ ref('stg_studies') }} as studies
left join models using (study_id)
left join {{ ref('int_answer_benchmarks') }} as answers using (study_id)

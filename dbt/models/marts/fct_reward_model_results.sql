with models as (
    select * from {{ ref('int_base_models') }}
    where is_compared
)

select
    results.study_id,
    results.objective,
    results.model_id,
    models.size_group,
    results.chat,
    results.chat_hard,
    results.safety,
    results.reasoning,
    results.score,
    results.score_standard_error,
    results.score_standard_error_approximate,
    results.standard_error_method,
    results.reasoning_unweighted,
    results.n_pairs,
    results.status,
    results.status_reason,
    results.is_comparable,
    results.basis,
    results.source
from {{ ref('int_reward_model_results') }} as results
inner join models using (study_id, model_id)

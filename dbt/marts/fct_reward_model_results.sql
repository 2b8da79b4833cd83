with results as (
    select * from {{ ref('int_reward_model_results') }}
),

models as (
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
    -- Published tables carry no item results: there is nothing to compute a standard error from.
    null::double as score_standard_error,
    results.score_standard_error_approximate,
    'none; approximate: binomial from category sizes' as standard_error_method,
    null::double as reasoning_unweighted,
    results.n_pairs,
    'complete' as status,
    results.source
from results
inner join models
    on
        results.study_id = models.study_id
        and results.model_id = models.model_id

with results as (
    select
        study_id,
        objective,
        model_id,
        chat,
        chat_hard,
        safety,
        reasoning,
        score
    from {{ ref('int_reward_model_results') }}
    where is_comparable
)

select
    study_id,
    objective,
    model_id,
    category,
    value
from results
unpivot (value for category in (chat, chat_hard, safety, reasoning, score))

-- The changes printed in Table 1 are those that the mart computes from its values, to the printed digit.
with printed as (
    select
        model_id,
        chat_delta_pct as chat,
        chat_hard_delta_pct as chat_hard,
        safety_delta_pct as safety,
        reasoning_delta_pct as reasoning,
        score_delta_pct as score
    from {{ ref('table_1_post_training') }}
),

long as (
    select
        model_id,
        category,
        printed_percent
    from printed
    unpivot (printed_percent for category in (chat, chat_hard, safety, reasoning, score))
)

select
    long.model_id,
    long.category,
    long.printed_percent,
    stages.change_percent
from long
left join {{ ref('fct_post_training_stages') }} as stages
    on
        long.model_id = stages.model_id
        and long.category = stages.category
        and stages.study_id = 'published'
        and stages.objective = 'regression'
where
    {{ listed_by_published('table_1_post_training') }}
    and (
        stages.change_percent is null
        or round(stages.change_percent, 1) != long.printed_percent
    )

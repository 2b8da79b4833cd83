with results as (
    select * from {{ ref('stg_published_results') }}
),

-- One row per model: the full result tables (4, 5) before the excerpt in Table 1.
ranked as (
    select
        *,
        row_number() over (
            partition by study_id, objective, model_id
            order by (source = 'table_1_post_training')::integer asc, source asc
        ) as preference
    from results
),

sizes as (
    select
        max(n_effective) filter (where category = 'chat') as n_chat,
        max(n_effective) filter (where category = 'chat_hard') as n_chat_hard,
        max(n_effective) filter (where category = 'safety') as n_safety,
        max(n_effective) filter (where category = 'reasoning') as n_reasoning,
        sum(n_pairs)::integer as n_pairs
    from {{ ref('int_rewardbench_categories') }}
)

select
    ranked.study_id,
    ranked.objective,
    ranked.model_id,
    ranked.chat,
    ranked.chat_hard,
    ranked.safety,
    ranked.reasoning,
    ranked.score,
    sizes.n_pairs,
    ranked.source,
    -- Binomial, from the category sizes alone; the score is the mean of four independent categories.
    sqrt(
        ranked.chat * (100 - ranked.chat) / sizes.n_chat
        + ranked.chat_hard * (100 - ranked.chat_hard) / sizes.n_chat_hard
        + ranked.safety * (100 - ranked.safety) / sizes.n_safety
        + ranked.reasoning * (100 - ranked.reasoning) / sizes.n_reasoning
    ) / 4 as score_standard_error_approximate
from ranked
cross join sizes
where ranked.preference = 1

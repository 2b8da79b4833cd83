-- One row per model: the full result tables (4, 5) before the excerpt in Table 1.
with ranked as (
    select
        *,
        row_number() over (
            partition by study_id, objective, model_id
            order by (source = 'table_1_post_training')::integer asc, source asc
        ) as preference
    from {{ ref('stg_published_results') }}
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
    null::double as score_standard_error,
    -- Binomial, from the category sizes only; the score is the mean of four independent categories.
    sqrt(
        ranked.chat * (100 - ranked.chat) / sizes.n_chat
        + ranked.chat_hard * (100 - ranked.chat_hard) / sizes.n_chat_hard
        + ranked.safety * (100 - ranked.safety) / sizes.n_safety
        + ranked.reasoning * (100 - ranked.reasoning) / sizes.n_reasoning
    ) / 4 as score_standard_error_approximate,
    -- Published tables carry no item results: there is nothing to compute a standard error from.
    'none; approximate: binomial from category sizes' as standard_error_method,
    null::double as reasoning_unweighted,
    sizes.n_pairs,
    0 as n_left_out,
    'complete' as status,
    null::varchar as status_reason,
    true as is_comparable,
    'published' as basis,
    ranked.source
from ranked
cross join sizes
where ranked.preference = 1
union all by name
select
    study_id,
    objective,
    model_id,
    chat,
    chat_hard,
    safety,
    reasoning,
    score,
    score_standard_error,
    score_standard_error_approximate,
    'item results, stratified by subset' as standard_error_method,
    reasoning_unweighted,
    n_pairs,
    n_left_out,
    status,
    status_reason,
    is_comparable,
    'item_results' as basis,
    source
from {{ ref('int_evaluation_results') }}

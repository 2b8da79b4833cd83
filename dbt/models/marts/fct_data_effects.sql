with benchmarks as (
    select
        variants.study_id,
        variants.reward_id,
        variants.reference_id,
        scores.reward_a = variants.reward_id as is_first,
        scores.benchmark as outcome,
        null::bigint as n_best_of,
        null::varchar as policy_id,
        null::varchar as prompt_set,
        null::varchar as gold_id,
        if(is_first, scores.value_a, scores.value_b) as value,
        if(is_first, scores.value_b, scores.value_a) as reference_value,
        if(is_first, 1, -1) * scores.difference as difference,
        if(is_first, scores.low, -scores.high) as low,
        if(is_first, scores.high, -scores.low) as high,
        scores.n as n_items,
        null::bigint as n_seeds,
        if(scores.n < {{ var('min_items') }}, 'fewer than {{ var('min_items') }} items: no interval', 'ok') as status
    from {{ ref('int_data_variants') }} as variants
    inner join {{ ref('int_score_comparisons') }} as scores
        on
            variants.study_id = scores.study_id
            and least(variants.reward_id, variants.reference_id) = least(scores.reward_a, scores.reward_b)
            and greatest(variants.reward_id, variants.reference_id) = greatest(scores.reward_a, scores.reward_b)
    where scores.subset is null
),

policies as (
    select
        study_id,
        reward_id,
        reference_id,
        outcome,
        n_best_of,
        policy_id,
        prompt_set,
        gold_id,
        value,
        reference_value,
        difference,
        low,
        high,
        n_prompts as n_items,
        n_seeds,
        status
    from {{ ref('int_data_effects') }}
),

effects as (
    select * exclude (is_first)
    from benchmarks
    union all by name
    from policies
)

select
    effects.study_id,
    variants.model_id,
    variants.objective,
    variants.data_id,
    variants.reference_data_id,
    effects.reward_id,
    effects.reference_id,
    effects.outcome,
    coalesce(effects.policy_id, 'none') as policy_id,
    coalesce(effects.prompt_set, 'none') as prompt_set,
    coalesce(effects.gold_id, 'none') as gold_id,
    effects.n_best_of,
    effects.value,
    effects.reference_value,
    effects.difference,
    effects.low,
    effects.high,
    coalesce(effects.low > 0 or effects.high < 0, false) as is_told_apart,
    effects.n_items,
    effects.n_seeds,
    effects.status
from effects
inner join {{ ref('int_data_variants') }} as variants using (study_id, reward_id)

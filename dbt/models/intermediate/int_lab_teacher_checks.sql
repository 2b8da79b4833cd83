-- The lab's flat teacher, which orders responses as the truth does with almost no spread on half of the prompts: its
-- accuracy is 1 and the best of n by it is that by the truth; what it teaches is as it comes.
with properties as (
    select
        flat.study_id,
        flat.policy_id,
        flat.on_policy_accuracy,
        flat.reward_variance / nullif(gold.reward_variance, 0) as variance_ratio,
        flat.n_prompts
    from {{ ref('int_teacher_properties') }} as flat
    inner join {{ ref('stg_gold_rewards') }} as golds using (study_id, gold_id)
    inner join {{ ref('int_teacher_properties') }} as gold
        on
            flat.study_id = gold.study_id
            and flat.policy_id = gold.policy_id
            and flat.prompt_set = gold.prompt_set
            and flat.gold_id = gold.gold_id
            and flat.gold_id = gold.reward_id
    where
        golds.kind = 'lab'
        and flat.reward_id = flat.gold_id || '_flat'
),

best_of_n as (
    select
        flat.study_id,
        flat.policy_id,
        max(abs(flat.gold - gold.gold)) as difference,
        any_value(flat.n_prompts) as n_prompts
    from {{ ref('int_best_of_n') }} as flat
    inner join {{ ref('stg_gold_rewards') }} as golds using (study_id, gold_id)
    inner join {{ ref('int_best_of_n') }} as gold
        on
            flat.study_id = gold.study_id
            and flat.policy_id = gold.policy_id
            and flat.prompt_set = gold.prompt_set
            and flat.gold_id = gold.gold_id
            and flat.gold_id = gold.reward_id
            and flat.n = gold.n
    where
        golds.kind = 'lab'
        and flat.reward_id = flat.gold_id || '_flat'
    group by flat.study_id, flat.policy_id
),

gains as (
    select less.*
    from {{ ref('int_gains_less_gold') }} as less
    inner join {{ ref('stg_gold_rewards') }} as golds using (study_id, gold_id)
    where
        golds.kind = 'lab'
        and less.reward_id = less.gold_id || '_flat'
),

checks as (
    select
        study_id,
        policy_id as model_id,
        'on_policy_accuracy' as statistic,
        on_policy_accuracy as value,
        1.0 as oracle,
        n_prompts as n
    from properties
    union all by name
    select
        study_id,
        policy_id as model_id,
        'variance_ratio' as statistic,
        variance_ratio as value,
        1.0 as baseline,
        n_prompts as n
    from properties
    union all by name
    select
        study_id,
        policy_id as model_id,
        'best_of_n_difference' as statistic,
        difference as value,
        0.0 as oracle,
        n_prompts as n
    from best_of_n
    union all by name
    select
        study_id,
        policy_id as model_id,
        method || '_gain_difference' as statistic,
        difference as value,
        difference_low as low,
        difference_high as high,
        gold_gain as baseline,
        n_prompts as n
    from gains
)

select
    *,
    'flat_teacher' as check_name,
    'truth' as baseline_name
from checks

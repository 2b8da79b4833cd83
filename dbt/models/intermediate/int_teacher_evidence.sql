-- Evidence on what reward models are worth to policies (definitions, Section 14), ends of policy runs left out.
with on_policies as (
    select
        found.study_id,
        found.use,
        found.evidence,
        found.policy_id,
        found.gold_id,
        found.reward_id,
        null::varchar as base_model,
        found.value,
        found.error,
        found.draws
    from {{ ref('int_policy_evidence') }} as found
    inner join {{ ref('int_teacher_prompt_sets') }} using (study_id, policy_id, gold_id, prompt_set)
),

-- Gains of the method of reinforcement learning that most rewards taught by; of equal ones RLOO. One seed does not say
-- how far runs differ, so that its error is not known.
taught as (
    select
        gains.study_id,
        'rl' as use,
        'measured' as evidence,
        gains.policy_id,
        gains.gold_id,
        gains.reward_id,
        gains.gold_gain as value,
        case
            when gains.n_seeds > 1
                then (gains.gold_gain_high - gains.gold_gain_low) / (2 * {{ var('reach_of_95_percent') }})
        end as error,
        gains.method,
        count(*) over (partition by gains.study_id, gains.policy_id, gains.gold_id, gains.method) as n_rewards
    from {{ ref('int_policy_gains') }} as gains
    inner join {{ ref('int_teacher_prompt_sets') }} using (study_id, policy_id, gold_id, prompt_set)
    where
        gains.scope = 'pooled'
        and gains.share_done = 1
        and gains.method in ('rloo', 'grpo')
        and gains.gold_gain is not null
),

rewardbench as (
    select
        study_id,
        'rewardbench' as evidence,
        reward_id,
        value,
        standard_error as error
    from {{ ref('int_benchmark_scores') }}
    where
        benchmark = 'rewardbench'
        and is_main
        and is_comparable
        and value is not null
),

-- Benchmarks that every base model with a value has, as mean of standard scores.
benchmark_values as (
    select
        candidates.study_id,
        candidates.base_model,
        benchmarks.benchmark,
        benchmarks.value
    from (
        select distinct
            study_id,
            base_model
        from {{ ref('int_teacher_candidates') }}
    ) as candidates
    inner join {{ ref('int_benchmark_values') }} as benchmarks
        on candidates.study_id = benchmarks.study_id and candidates.base_model = benchmarks.model_id
),

common_benchmarks as (
    select
        study_id,
        base_model,
        (value - avg(value) over same_benchmark) / nullif(stddev_samp(value) over same_benchmark, 0) as standard_score
    from benchmark_values
    window same_benchmark as (partition by study_id, benchmark)
    qualify count(*) over same_benchmark = count(distinct base_model) over (partition by study_id)
),

base_benchmarks as (
    select
        study_id,
        'base_benchmarks' as evidence,
        base_model,
        avg(standard_score) as value
    from common_benchmarks
    group by study_id, base_model
    having avg(standard_score) is not null
)

from on_policies
union all by name
(
    select * exclude (method, n_rewards)
    from taught
    qualify method = first_value(method) over (
        partition by study_id, policy_id, gold_id
        order by n_rewards desc, method desc
    )
)
union all by name
from rewardbench
union all by name
from base_benchmarks

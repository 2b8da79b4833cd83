-- The benchmark that a study's answer is based on: the one that it names; else RewardBench; else what most have.
with printed as (
    select distinct study_id
    from {{ ref('stg_published_results') }}
),

items as (
    select
        study_id,
        benchmark,
        count(*) as n_items,
        -- Of a choice at random. RM-Bench compares pairs; of Ties, chance is not known.
        avg(n_correct / n_completions) filter (where lower(subset) != 'ties') as share_right
    from {{ ref('stg_benchmark_items') }}
    group by study_id, benchmark
),

scored as (
    select
        sources.study_id,
        rewards.benchmark,
        count(distinct rewards.reward_id) as n_reward_models
    from {{ ref('stg_completion_rewards') }} as rewards
    inner join {{ ref('int_base_reward_sources') }} as sources using (study_id, reward_id)
    group by sources.study_id, rewards.benchmark
),

chosen as (
    select
        studies.study_id,
        case
            when studies.answer_on is not null then studies.answer_on
            when printed.study_id is not null then 'rewardbench'
            else scored.benchmark
        end as benchmark
    from {{ ref('stg_studies') }} as studies
    left join printed using (study_id)
    left join scored using (study_id)
    left join items
        on
            scored.study_id = items.study_id
            and scored.benchmark = items.benchmark
    qualify
        row_number() over (
            partition by studies.study_id
            order by
                scored.benchmark = 'rewardbench' desc nulls last,
                scored.n_reward_models desc nulls last,
                items.n_items desc nulls last,
                scored.benchmark asc
        ) = 1
)

select
    chosen.study_id,
    chosen.benchmark,
    case
        when chosen.benchmark in ('rewardbench', 'rm_bench', 'judgebench') then 50.0
        else round(100 * items.share_right, 1)
    end as chance
from chosen
left join items using (study_id, benchmark)
where chosen.benchmark is not null

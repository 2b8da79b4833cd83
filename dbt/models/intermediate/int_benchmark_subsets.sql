-- How each benchmark makes one figure of its subsets: the plain mean of its parts; within a part by weight, or by item.
with subsets as (
    select
        study_id,
        benchmark,
        subset,
        case benchmark
            -- Domains of RM-Bench by the first word of the subset: refusals and responses are one.
            when 'rm_bench' then coalesce(any_value(category), regexp_extract(lower(subset), '^[a-z]+'))
            else any_value(category)
        end as category
    from {{ ref('stg_benchmark_items') }}
    group by study_id, benchmark, subset
)

select
    subsets.study_id,
    subsets.benchmark,
    subsets.subset,
    subsets.category,
    case
        when subsets.benchmark in ('rewardbench', 'rm_bench') then coalesce(subsets.category, subsets.subset)
        when subsets.benchmark = 'rewardbench2' then subsets.subset
        else 'all'
    end as part,
    rewardbench.weight::double as weight,
    case subsets.benchmark
        when 'rewardbench' then 4
        when 'rewardbench2' then 6
        when 'rm_bench' then 4
        else 1
    end as n_parts,
    case
        when subsets.benchmark = 'rewardbench' then 'score'
        when subsets.benchmark in ('rewardbench2', 'rm_bench') then 'overall'
    end as figure
from subsets
left join {{ ref('stg_rewardbench_subsets') }} as rewardbench
    on subsets.benchmark = 'rewardbench' and subsets.subset = rewardbench.subset
-- A subset that RewardBench does not have is no part of its score.
where subsets.benchmark != 'rewardbench' or rewardbench.weight is not null

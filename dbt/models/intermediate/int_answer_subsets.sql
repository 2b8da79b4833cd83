-- Subsets of each study's answer benchmark: the category whose mean they are part of, with their weight in it.
with studies as (
    select
        studies.study_id,
        studies.synthetic
    from {{ ref('stg_studies') }} as studies
    inner join {{ ref('int_answer_benchmarks') }} as answers using (study_id)
    where answers.benchmark = 'rewardbench'
),

-- A synthetic study has its own test set: it is whole with all the pairs that any of its reward models was scored on.
own_sizes as (
    select
        study_id,
        subset,
        count(distinct item_id)::integer as n_examples
    from {{ ref('int_pair_outcomes') }}
    group by study_id, subset
)

select
    studies.study_id,
    subsets.category,
    subsets.subset,
    subsets.weight::double as weight,
    case when studies.synthetic then coalesce(own_sizes.n_examples, 0) else subsets.n_examples end as n_examples
from studies
cross join {{ ref('stg_rewardbench_subsets') }} as subsets
left join own_sizes using (study_id, subset)
union all by name
select
    subsets.study_id,
    subsets.part as category,
    subsets.subset,
    own_sizes.n_examples::double as weight,
    own_sizes.n_examples
from {{ ref('int_benchmark_subsets') }} as subsets
inner join {{ ref('int_answer_benchmarks') }} as answers
    on
        subsets.study_id = answers.study_id
        and subsets.benchmark = answers.benchmark
inner join own_sizes
    on
        subsets.study_id = own_sizes.study_id
        and subsets.subset = own_sizes.subset
where subsets.benchmark != 'rewardbench'

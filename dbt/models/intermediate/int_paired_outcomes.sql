with pairs as (
    select * from {{ ref('int_compared_pairs') }}
    where is_counted
)

select
    compared.study_id,
    compared.objective,
    compared.model_id,
    compared.other_objective,
    compared.other_model_id,
    mine.category,
    mine.subset,
    any_value(subsets.weight) as weight,
    count(*) filter (where mine.value >= 1 and others.value >= 1)::integer as n_both,
    count(*) filter (where mine.value >= 1 and others.value < 1)::integer as n_only_model,
    count(*) filter (where mine.value < 1 and others.value >= 1)::integer as n_only_other,
    count(*) filter (where mine.value < 1 and others.value < 1)::integer as n_neither,
    sum(mine.value - others.value) as sum_of_differences,
    sum((mine.value - others.value) ** 2) as sum_of_squares,
    bool_or(mine.value not in (0, 1) or others.value not in (0, 1)) as has_parts
from {{ ref('int_compared_reward_models') }} as compared
inner join pairs as mine using (study_id, objective, model_id)
inner join pairs as others
    on
        compared.study_id = others.study_id
        and compared.other_objective = others.objective
        and compared.other_model_id = others.model_id
        and mine.subset = others.subset
        and mine.item_id = others.item_id
inner join {{ ref('int_answer_subsets') }} as subsets
    on
        compared.study_id = subsets.study_id
        and mine.subset = subsets.subset
group by all

with outcomes as (
    select
        outcomes.study_id,
        outcomes.objective,
        outcomes.model_id,
        outcomes.subset,
        outcomes.item_id,
        outcomes.outcome = 'won' as is_won,
        subsets.category,
        subsets.weight
    from {{ ref('int_pair_outcomes') }} as outcomes
    inner join {{ ref('stg_rewardbench_subsets') }} as subsets using (subset)
    where outcomes.outcome != 'error'
)

select
    pairs.study_id,
    pairs.objective,
    pairs.model_id,
    pairs.other_objective,
    pairs.other_model_id,
    mine.category,
    mine.subset,
    mine.weight,
    count(*) filter (where mine.is_won and others.is_won)::integer as n_both,
    count(*) filter (where mine.is_won and not others.is_won)::integer as n_only_model,
    count(*) filter (where not mine.is_won and others.is_won)::integer as n_only_other,
    count(*) filter (where not mine.is_won and not others.is_won)::integer as n_neither
from {{ ref('int_compared_reward_models') }} as pairs
inner join outcomes as mine using (study_id, objective, model_id)
inner join outcomes as others
    on
        pairs.study_id = others.study_id
        and pairs.other_objective = others.objective
        and pairs.other_model_id = others.model_id
        and mine.subset = others.subset
        and mine.item_id = others.item_id
group by all

select
    seeds.study_id,
    downstream.paper_table,
    downstream.policy,
    downstream.reward_model,
    downstream.model_id,
    downstream.training_data,
    downstream.relation,
    downstream.rewardbench2,
    downstream.ppo,
    downstream.best_of_16
from {{ ref('rewardbench2_table8_downstream') }} as downstream
inner join {{ ref('stg_study_seeds') }} as seeds on seeds.seed = 'rewardbench2_table8_downstream'

select
    study_id,
    policy_id,
    gold_id,
    use,
    objective,
    best_evidence,
    evidence,
    n_bases::integer as n_bases,
    picked,
    picked_value,
    best,
    best_value,
    regret,
    regret_by_chance,
    reason
from {{ ref('int_teacher_regrets') }}

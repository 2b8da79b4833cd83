with checks as (
    select * from {{ ref('int_lab_truth_checks') }}
    union all by name
    select
        study_id,
        'variance' as check_name,
        score_kind,
        statistic,
        value,
        n
    from {{ ref('int_lab_variance_shares') }}
    union all by name
    select * from {{ ref('int_lab_teacher_checks') }}
    union all by name
    -- The gold reward of a lab is its truth.
    select
        regrets.study_id,
        'teacher_regret' as check_name,
        regrets.best_evidence as cell,
        regrets.use as score_kind,
        regrets.objective,
        'regret' as statistic,
        avg(regrets.regret) as value,
        avg(regrets.regret_by_chance) filter (where regrets.regret is not null) as baseline,
        'chance' as baseline_name,
        count(regrets.regret) as n,
        case when count(regrets.regret) = 0 then max(regrets.reason) end as reason
    from {{ ref('fct_teacher_regrets') }} as regrets
    inner join {{ ref('stg_gold_rewards') }} as golds using (study_id, gold_id)
    where golds.kind = 'lab'
    group by regrets.study_id, regrets.best_evidence, regrets.use, regrets.objective
)

select
    study_id,
    check_name,
    cell,
    score_kind,
    objective,
    model_id,
    statistic,
    value,
    low,
    high,
    oracle,
    baseline,
    baseline_name,
    n::integer as n,
    reason
from checks

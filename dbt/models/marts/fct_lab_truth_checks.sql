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

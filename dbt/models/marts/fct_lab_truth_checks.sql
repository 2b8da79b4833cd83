select
    study_id,
    check_name,
    domain,
    score_kind,
    compared_with,
    objective,
    model_id,
    statistic,
    value,
    low,
    high,
    baseline,
    baseline_name,
    n::integer as n,
    reason
from {{ ref('int_lab_truth_checks') }}

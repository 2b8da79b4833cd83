select
    study_id,
    objective,
    target,
    feature,
    share_of_models,
    reason
from {{ source('raw', 'performance_excluded_features') }}

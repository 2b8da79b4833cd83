select
    study_id,
    score_kind,
    low,
    high,
    n_bins
from {{ source('raw', 'score_bins') }}

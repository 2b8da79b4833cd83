select
    distances.study_id,
    distances.score_kind,
    distances.domain,
    distances.binning,
    distances.model_a,
    distances.model_b,
    distances.distance,
    distances.null_floor,
    distances.distance_low,
    distances.distance_high,
    distances.n_a,
    distances.n_b,
    distances.n_bins,
    distances.is_flagged,
    agreement.wasserstein_1,
    agreement.spearman,
    agreement.n_shared
from {{ ref('int_score_distances') }} as distances
left join {{ ref('int_score_agreement') }} as agreement using (study_id, score_kind, domain, model_a, model_b)

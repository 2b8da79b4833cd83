select
    donors.study_id,
    donors.model_id,
    donors.donor_model_id,
    histograms.domain,
    histograms.score_kind,
    histograms.binning,
    histograms.bin,
    histograms.bin_low,
    histograms.bin_high,
    histograms.n,
    histograms.n / sum(histograms.n) over (
        partition by
            donors.study_id, donors.model_id, histograms.domain, histograms.score_kind, histograms.binning
    ) as share
from {{ ref('int_score_donors') }} as donors
inner join {{ ref('int_score_histograms') }} as histograms
    on
        donors.study_id = histograms.study_id
        and donors.donor_model_id = histograms.model_id

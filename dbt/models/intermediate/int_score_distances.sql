with shares as (
    select
        study_id,
        score_kind,
        domain,
        binning,
        bin,
        model_id,
        (sum(n) over whole)::bigint as n_documents,
        n / sum(n) over whole as share
    from {{ ref('int_score_histograms') }}
    window whole as (partition by study_id, score_kind, domain, binning, model_id)
),

-- Bins that hold anything of the pair; p and q are its two shares, and ratios are to their mean.
pairs as (
    select
        a.study_id,
        a.score_kind,
        a.domain,
        a.binning,
        a.model_id as model_a,
        b.model_id as model_b,
        a.n_documents as n_a,
        b.n_documents as n_b,
        a.bin,
        a.share as p,
        b.share as q,
        case when a.share > 0 then log2(2 * a.share / (a.share + b.share)) else 0 end as log2_ratio_p,
        case when b.share > 0 then log2(2 * b.share / (a.share + b.share)) else 0 end as log2_ratio_q
    from shares as a
    inner join shares as b using (study_id, score_kind, domain, binning, bin)
    where a.model_id < b.model_id and a.share + b.share > 0
),

-- Sums of decimals, which are the same in any order.
summed as (
    select
        study_id,
        score_kind,
        domain,
        binning,
        model_a,
        model_b,
        n_a,
        n_b,
        count(*)::integer as n_bins,
        sum((p * log2_ratio_p)::decimal(38, 20))::double as mean_p,
        sum((q * log2_ratio_q)::decimal(38, 20))::double as mean_q,
        sum((p * pow(log2_ratio_p, 2))::decimal(38, 20))::double as square_p,
        sum((q * pow(log2_ratio_q, 2))::decimal(38, 20))::double as square_q
    from pairs
    group by all
),

-- The bias of the divergence from counts, and its standard error: delta method, and the spread of the bias.
estimated as (
    select
        *,
        (mean_p + mean_q) / 2 as divergence,
        (n_bins - 1) * (1 / n_a + 1 / n_b) / (8 * ln(2)) as bias,
        sqrt(
            greatest(0, square_p - pow(mean_p, 2)) / (4 * n_a)
            + greatest(0, square_q - pow(mean_q, 2)) / (4 * n_b)
            + 2 * (n_bins - 1) * pow((1 / n_a + 1 / n_b) / (8 * ln(2)), 2)
        ) as standard_error
    from summed
)

select
    study_id,
    score_kind,
    domain,
    binning,
    model_a,
    model_b,
    sqrt(greatest(0, least(1, divergence))) as distance,
    sqrt(least(1, bias)) as null_floor,
    sqrt(greatest(0, least(1, divergence - bias))) as distance_corrected,
    sqrt(greatest(0, least(1, divergence - bias - {{ var('reach_of_95_percent') }} * standard_error))) as distance_low,
    sqrt(greatest(0, least(1, divergence - bias + {{ var('reach_of_95_percent') }} * standard_error))) as distance_high,
    n_a,
    n_b,
    n_bins
from estimated

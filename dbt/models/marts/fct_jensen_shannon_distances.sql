with distances as (
    select * from {{ ref('int_score_distances') }}
),

domain_means as (
    select
        study_id,
        score_kind,
        binning,
        model_a,
        model_b,
        'all' as domain,
        avg(distance order by domain) as mean_domain_distance,
        avg(distance_corrected order by domain) as mean_domain_distance_corrected,
        avg(distance_low order by domain) as mean_domain_distance_low,
        avg(distance_high order by domain) as mean_domain_distance_high
    from distances
    where domain != 'all'
    group by study_id, score_kind, binning, model_a, model_b
)

select
    distances.study_id,
    distances.score_kind,
    distances.domain,
    distances.binning,
    distances.model_a,
    distances.model_b,
    distances.distance,
    distances.null_floor,
    distances.distance_corrected,
    distances.distance_low,
    distances.distance_high,
    distances.distance_low > 0 as is_told_apart,
    domain_means.mean_domain_distance,
    domain_means.mean_domain_distance_corrected,
    domain_means.mean_domain_distance_low,
    domain_means.mean_domain_distance_high,
    distances.n_a,
    distances.n_b,
    distances.n_bins,
    wasserstein.wasserstein_1,
    correlations.spearman,
    correlations.n_shared
from distances
left join domain_means using (study_id, score_kind, binning, model_a, model_b, domain)
left join {{ ref('int_score_wasserstein') }} as wasserstein using (study_id, score_kind, domain, model_a, model_b)
left join {{ ref('int_score_correlations') }} as correlations using (study_id, score_kind, domain, model_a, model_b)

-- For each model: how many are strictly above it, and how many share its value (itself counted).
with ranked as (
    select
        study_id,
        objective,
        target,
        feature,
        model_id,
        count(*) over models_of_feature as n,
        rank() over (models_of_feature order by feature_value desc) - 1 as n_above_by_feature,
        count(*) over (partition by study_id, objective, target, feature, feature_value) as n_tied_by_feature,
        rank() over (models_of_feature order by target_value desc) - 1 as n_above_by_target,
        count(*) over (partition by study_id, objective, target, feature, target_value) as n_tied_by_target,
        rank() over (models_of_feature order by log10_params desc) - 1 as n_above_by_size,
        count(*) over (partition by study_id, objective, target, feature, log10_params) as n_tied_by_size
    from {{ ref('int_feature_target_pairs') }}
    window models_of_feature as (partition by study_id, objective, target, feature)
),

cutoffs as (
    select unnest({{ var('coverage_ks') }})::integer as k
),

-- The chance of being among the top k: 1 above the border, 0 below it, and at the border the places left over
-- divided by the models that share the value (ties are broken at random, independently on both sides).
chances as (
    select
        ranked.study_id,
        ranked.objective,
        ranked.target,
        ranked.feature,
        ranked.n,
        cutoffs.k,
        least(1, greatest(0, (cutoffs.k - ranked.n_above_by_feature) / ranked.n_tied_by_feature)) as in_top_by_feature,
        least(1, greatest(0, (cutoffs.k - ranked.n_above_by_target) / ranked.n_tied_by_target)) as in_top_by_target,
        least(1, greatest(0, (cutoffs.k - ranked.n_above_by_size) / ranked.n_tied_by_size)) as in_top_by_size
    from ranked
    inner join cutoffs on ranked.n >= cutoffs.k
),

coverages as (
    select
        study_id,
        objective,
        target,
        feature,
        k,
        n,
        -- Rounded: a sum of thirds must not fall short of 0.7, nor depend on the order of summing.
        round(sum(in_top_by_feature * in_top_by_target) / k, 12) as coverage,
        k / n as chance,
        round(sum(in_top_by_size * in_top_by_target) / k, 12) as size_coverage
    from chances
    group by study_id, objective, target, feature, k, n
),

early as (
    select
        study_id,
        objective,
        target,
        feature,
        max(coverage) filter (where k = 5) as coverage_at_5,
        max(coverage) filter (where k = 10) as coverage_at_10
    from coverages
    group by study_id, objective, target, feature
)

select
    coverages.study_id,
    coverages.objective,
    coverages.target,
    coverages.feature,
    feature_names.feature_kind,
    feature_names.topic,
    coverages.k,
    coverages.n::integer as n,
    coverages.coverage,
    coverages.chance,
    coverages.size_coverage,
    differences.size_difference_low,
    differences.size_difference_high,
    -- The paper's filters, as flags. A feature with fewer than ten models has no coverage at 10 and passes neither.
    coalesce(early.coverage_at_5 >= 0.4 and early.coverage_at_10 >= 0.7, false) as passes_main_filter,
    coalesce(early.coverage_at_5 >= 0.4 and early.coverage_at_10 >= 0.6, false) as passes_appendix_filter
from coverages
inner join early using (study_id, objective, target, feature)
inner join {{ ref('int_coverage_differences') }} as differences using (study_id, objective, target, feature, k)
inner join {{ ref('int_feature_names') }} as feature_names using (study_id, feature)

-- Every cell of the grid is a row: a feature without values is listed with n = 0, never left out.
with grid as (
    select distinct
        feature_names.study_id,
        targets.objective,
        targets.category as target,
        feature_names.feature,
        feature_names.feature_kind,
        feature_names.topic
    from {{ ref('int_feature_names') }} as feature_names
    inner join {{ ref('int_category_values') }} as targets using (study_id)
)

select
    grid.study_id,
    grid.objective,
    grid.target,
    grid.feature,
    grid.feature_kind,
    grid.topic,
    coalesce(statistics.n, 0)::integer as n,
    coalesce(statistics.n_publishers, 0)::integer as n_publishers,
    statistics.pearson,
    statistics.pearson_low,
    statistics.pearson_high,
    statistics.clustered_low,
    statistics.clustered_high,
    statistics.spearman,
    statistics.t_statistic,
    statistics.p_value,
    statistics.q_value,
    statistics.critical_r,
    statistics.clustered_p_value,
    statistics.clustered_q_value,
    statistics.clustered_q_value < 0.05 as is_significant,
    statistics.partial_pearson_given_size,
    statistics.partial_low,
    statistics.partial_high,
    coalesce(statistics.status, 'too_few_models') as status
from grid
left join {{ ref('int_correlation_statistics') }} as statistics using (study_id, objective, target, feature)

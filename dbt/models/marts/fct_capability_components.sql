select
    study_id,
    component::integer as component,
    explained_variance_ratio,
    noise_ratio,
    noise_ratio_95,
    benchmark,
    loading,
    method,
    n_models::integer as n_models,
    n_imputed::integer as n_imputed
from {{ source('raw', 'capability_components') }}

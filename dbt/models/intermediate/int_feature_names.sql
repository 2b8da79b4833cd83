-- Every feature that a study could have, also those without a single value: they are listed, not dropped.
select
    study_id,
    benchmark as feature,
    'benchmark' as feature_kind,
    topic
from {{ ref('stg_benchmarks') }}
union all by name
select
    study_id,
    unnest(['log10_params', 'params_b', 'tokens_t']) as feature,
    'training' as feature_kind,
    'Training metrics' as topic
from {{ ref('stg_studies') }}

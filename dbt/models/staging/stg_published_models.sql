select
    'published' as study_id,
    model_id,
    publisher,
    hub_id,
    release_month,
    params_b,
    downloads,
    likes,
    tokens_t
from {{ ref('table_3_models') }}
where {{ listed_by_published('table_3_models') }}

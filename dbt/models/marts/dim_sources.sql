select
    study_id,
    seed,
    file,
    paper_table,
    source,
    licence,
    n_rows::integer as n_rows,
    sha256
from {{ ref('stg_study_seeds') }}

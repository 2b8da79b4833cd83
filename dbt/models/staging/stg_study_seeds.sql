select
    study_id,
    seed,
    file,
    paper_table,
    source,
    licence,
    n_rows,
    sha256
from {{ source('raw', 'study_seeds') }}

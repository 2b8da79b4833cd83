select
    study_id,
    corpus,
    document_id,
    domain,
    n_bytes,
    n_characters,
    content_hash
from {{ source('raw', 'documents') }}

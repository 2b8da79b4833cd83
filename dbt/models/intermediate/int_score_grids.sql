-- depends_on: {{ ref('stg_document_scores') }}
-- A table that reads nothing would come before all others, and dbt would be started once more for it alone.
select
    grids.score_kind,
    grids.low,
    grids.per_unit,
    grids.n_cells
from (
    values
    ('presence_score', -20, 200, 4000),
    ('bits_per_byte', 0, 500, 8000),
    ('min_k', -40, 100, 4000),
    ('min_k_plus_plus', -20, 200, 6000),
    ('logprob_per_zlib_byte', -20, 500, 10000)
) as grids (score_kind, low, per_unit, n_cells)

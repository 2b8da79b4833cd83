{% set n_bins = var('n_quantile_bins') %}
with grids as (
    select * from {{ ref('int_score_grids') }}
),

cells as (
    select * from {{ ref('int_score_cells') }}
),

pooled as (
    select
        study_id,
        domain,
        score_kind,
        cell,
        sum(sum(n)) over (
            partition by study_id, domain, score_kind order by cell
        ) - sum(n) as n_below,
        sum(sum(n)) over (partition by study_id, domain, score_kind) as n_documents
    from cells
    group by study_id, domain, score_kind, cell
),

-- Pooled quantiles, snapped to the grid. A cell with more than its share of the documents leaves later bins out.
quantile_cells as (
    select
        study_id,
        domain,
        score_kind,
        cell,
        'quantile' as binning,
        (1 + {{ n_bins }} * n_below // n_documents)::integer as bin
    from pooled
),

quantile_bins as (
    select
        study_id,
        domain,
        score_kind,
        binning,
        bin,
        min(cell) as first_cell,
        coalesce(lead(min(cell)) over (
            partition by study_id, domain, score_kind order by bin
        ), max(cell) + 1) as end_cell
    from quantile_cells
    group by study_id, domain, score_kind, binning, bin
),

-- Equally wide bins that the study states, snapped to the grid: no model changes them.
stated as (
    select
        settings.study_id,
        settings.score_kind,
        settings.n_bins,
        (settings.low - grids.low) * grids.per_unit as first_cell,
        (settings.high - settings.low) * grids.per_unit / settings.n_bins as cells_per_bin,
        grids.n_cells
    from {{ ref('stg_score_bins') }} as settings
    inner join grids using (score_kind)
),

fixed_cells as (
    select
        pooled.study_id,
        pooled.domain,
        pooled.score_kind,
        pooled.cell,
        'fixed' as binning,
        greatest(1, least(
            stated.n_bins, 1 + floor((pooled.cell + 0.5 - stated.first_cell) / stated.cells_per_bin)
        ))::integer as bin
    from pooled
    inner join stated using (study_id, score_kind)
),

fixed_bins as (
    select
        groups.study_id,
        groups.domain,
        groups.score_kind,
        'fixed' as binning,
        numbers.bin::integer as bin,
        case
            when numbers.bin = 1 then 0
            else round(stated.first_cell + (numbers.bin - 1) * stated.cells_per_bin)
        end as first_cell,
        case
            when numbers.bin = stated.n_bins then stated.n_cells
            else round(stated.first_cell + numbers.bin * stated.cells_per_bin)
        end as end_cell
    from (select distinct
        study_id,
        domain,
        score_kind
    from pooled) as groups
    inner join stated using (study_id, score_kind)
    inner join range(1, 1001) as numbers (bin) on stated.n_bins >= numbers.bin
),

bins as (
    select * from quantile_bins
    union all by name
    select * from fixed_bins
),

binned as (
    select * from quantile_cells
    union all by name
    select * from fixed_cells
),

counted as (
    select
        cells.study_id,
        cells.model_id,
        cells.domain,
        cells.score_kind,
        binned.binning,
        binned.bin,
        sum(cells.n)::bigint as n
    from cells
    inner join binned using (study_id, domain, score_kind, cell)
    group by all
),

models as (
    select distinct
        study_id,
        model_id,
        domain,
        score_kind
    from cells
)

select
    models.study_id,
    models.score_kind,
    models.model_id,
    models.domain,
    bins.binning,
    bins.bin,
    grids.low + bins.first_cell / grids.per_unit as bin_low,
    grids.low + bins.end_cell / grids.per_unit as bin_high,
    coalesce(counted.n, 0) as n
from models
inner join bins using (study_id, domain, score_kind)
inner join grids using (score_kind)
left join counted using (study_id, model_id, domain, score_kind, binning, bin)

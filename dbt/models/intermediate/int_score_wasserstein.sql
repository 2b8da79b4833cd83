with cells as (
    select * from {{ ref('int_score_cells') }}
),

-- Distributions, numbered: millions of rows are joined and grouped by numbers several times as fast as by names.
distributions as (
    select
        study_id,
        score_kind,
        domain,
        model_id,
        sum(n)::bigint as n_documents,
        dense_rank() over (order by study_id, score_kind, domain) as group_number,
        row_number() over (order by study_id, score_kind, domain, model_id) as number
    from cells
    group by study_id, score_kind, domain, model_id
),

numbered as (
    select
        distributions.group_number,
        distributions.number,
        cells.cell,
        cells.n
    from cells
    inner join distributions using (study_id, score_kind, domain, model_id)
),

-- Cells that hold a document of any model; the distribution functions are level up to the next.
steps as (
    select
        group_number,
        cell,
        lead(cell) over (partition by group_number order by cell) - cell as n_level
    from numbered
    group by group_number, cell
),

cumulated as (
    select
        distributions.group_number,
        distributions.number,
        distributions.n_documents,
        steps.cell,
        steps.n_level,
        sum(coalesce(numbered.n, 0)) over (
            partition by distributions.number
            order by steps.cell
        )::bigint as n_up_to
    from distributions
    inner join steps using (group_number)
    left join numbered using (group_number, number, cell)
),

-- Sums of whole numbers, which are the same in any order.
areas as (
    select
        a.number as number_a,
        b.number as number_b,
        sum(abs(a.n_up_to * b.n_documents - b.n_up_to * a.n_documents) * a.n_level) as area
    from cumulated as a
    inner join cumulated as b using (group_number, cell)
    where a.number < b.number
    group by a.number, b.number
)

select
    a.study_id,
    a.score_kind,
    a.domain,
    a.model_id as model_a,
    b.model_id as model_b,
    coalesce(areas.area, 0) / (a.n_documents * b.n_documents * grids.per_unit) as wasserstein_1
from areas
inner join distributions as a on areas.number_a = a.number
inner join distributions as b on areas.number_b = b.number
inner join {{ ref('int_score_grids') }} as grids on a.score_kind = grids.score_kind

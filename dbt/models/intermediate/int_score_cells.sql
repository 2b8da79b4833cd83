with own as (
    select * from {{ ref('int_fine_histograms') }}
)

select
    study_id,
    score_kind,
    domain,
    model_id,
    cell,
    n
from own
union all
select
    study_id,
    score_kind,
    'all' as domain,
    model_id,
    cell,
    sum(n)::bigint as n
from own
group by study_id, score_kind, model_id, cell

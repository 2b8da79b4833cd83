-- Places of items and completions in the arrays of rewards: rows and columns from 0.
with items as (
    select
        study_id,
        benchmark,
        subset,
        item_id,
        row_number() over (partition by study_id, benchmark order by subset, item_id) - 1 as item_no
    from {{ ref('stg_benchmark_items') }}
)

select
    items.*,
    completions.completion,
    row_number() over (
        partition by items.study_id, items.benchmark, items.item_no
        order by completions.place, completions.completion
    ) - 1 as completion_no,
    completions.is_correct,
    completions.generator_family
from items
inner join {{ ref('stg_item_completions') }} as completions using (study_id, benchmark, subset, item_id)

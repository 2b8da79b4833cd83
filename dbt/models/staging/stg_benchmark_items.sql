select
    items.study_id,
    items.benchmark,
    items.subset,
    items.item_id,
    coalesce(items.category, rewardbench.category) as category,
    items.n_completions,
    items.n_correct,
    items.prompt_hash,
    items.source
from {{ source('raw', 'benchmark_items') }} as items
left join {{ ref('rewardbench_subsets') }} as rewardbench
    on items.benchmark = 'rewardbench' and items.subset = rewardbench.subset

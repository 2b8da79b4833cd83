-- A few critiques to read: the first one of both completions of some pairs, chosen by a hash.
with pairs as (
    select
        study_id,
        benchmark,
        subset,
        item_id
    from {{ ref('stg_benchmark_items') }}
    where
        n_correct = 1
        and n_completions = 2
),

critiques as (
    select
        critiques.study_id,
        critiques.reward_id,
        critiques.benchmark,
        critiques.subset,
        critiques.item_id,
        critiques.completion,
        completions.is_correct,
        critiques.text,
        critiques.reward,
        critiques.finish_reason,
        critiques.status
    from {{ ref('stg_critiques') }} as critiques
    inner join pairs using (study_id, benchmark, subset, item_id)
    inner join {{ ref('stg_item_completions') }} as completions
        using (study_id, benchmark, subset, item_id, completion)
    where
        critiques.critiques = 'own'
        and critiques.critique_no = 0
)

select *
from critiques
qualify
    dense_rank() over (
        partition by study_id, reward_id
        order by md5(benchmark || '/' || subset || '/' || item_id), benchmark, subset, item_id
    ) <= {{ var('n_critique_examples') }}

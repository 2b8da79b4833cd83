-- The hundred least probable labels of each data: for a person to read.
with ranked as (
    select
        study_id,
        data_id,
        pair_id,
        row_number() over (partition by study_id, data_id order by p_label, pair_id) as suspect_rank,
        label_kind,
        cross_fitted_margin,
        p_label,
        is_label_right,
        prompt,
        chosen,
        rejected
    from {{ ref('stg_preference_labels') }}
    where
        split = 'train'
        and is_kept
        and p_label is not null
)

select * from ranked
where suspect_rank <= 100

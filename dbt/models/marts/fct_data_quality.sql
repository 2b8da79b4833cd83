with labels as (
    select
        study_id,
        data_id,
        count(*) as n_pairs,
        count(*) filter (where is_kept) as n_kept,
        count(*) filter (where is_kept and label_kind = 'original') as n_kept_original,
        count(*) filter (where is_kept and label_kind = 'same') as n_kept_same,
        count(*) filter (where is_kept and label_kind = 'opposite') as n_kept_opposite,
        count(*) filter (where is_kept and label_kind = 'flipped') as n_kept_flipped,
        count(*) filter (where is_kept and label_kind in ('toxic', 'vague', 'repetitive', 'empty')) as n_kept_other,
        count(*) filter (where is_kept and is_label_right is not null) as n_with_truth,
        (count_if(is_kept and not is_label_right) / nullif(count_if(is_kept and is_label_right is not null), 0))
            as true_noise
    from {{ ref('stg_preference_labels') }}
    where split = 'train'
    group by study_id, data_id
)

select
    labels.study_id,
    labels.data_id,
    labels.n_pairs,
    labels.n_kept,
    labels.n_kept / labels.n_pairs as kept_share,
    labels.n_kept_original,
    labels.n_kept_same,
    labels.n_kept_opposite,
    labels.n_kept_flipped,
    labels.n_kept_other,
    noise.n_pairs as n_judged,
    noise.n_prompts,
    noise.noise as estimated_noise,
    noise.noise_low as low,
    noise.noise_high as high,
    noise.expected_noise,
    noise.expected_noise_low,
    noise.expected_noise_high,
    noise.share_lost,
    noise.share_lost_low,
    noise.share_lost_high,
    labels.true_noise,
    labels.n_with_truth,
    coalesce(noise.status, 'no estimate') as status
from labels
left join {{ ref('int_data_noise') }} as noise using (study_id, data_id)

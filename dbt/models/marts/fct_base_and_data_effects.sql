with sums as (
    select
        study_id,
        category,
        left_out,
        count(distinct model_id) as n_bases,
        count(distinct training_data) as n_data,
        sum((value - overall_mean) ** 2) as total,
        sum(base_effect ** 2) as base,
        sum(data_effect ** 2) as data,
        sum(residual ** 2) as rest
    from {{ ref('int_base_by_data_grids') }}
    group by study_id, category, left_out
),

long as (
    from sums
    unpivot (sum_of_squares for effect in (base, data, rest))
),

shares as (
    select
        *,
        sum_of_squares / nullif(total, 0) as share,
        case effect
            when 'base' then n_bases - 1
            when 'data' then n_data - 1
            else (n_bases - 1) * (n_data - 1)
        end as degrees_of_freedom
    from long
),

-- Delete-one-base jackknife.
errors as (
    select
        study_id,
        category,
        effect,
        sqrt((count(*) - 1) / count(*) * sum((share - mean_share) ** 2)) as share_error
    from (
        select
            *,
            avg(share) over (partition by study_id, category, effect) as mean_share
        from shares
        where left_out is not null
    ) as left_outs
    group by study_id, category, effect
)

select
    shares.study_id,
    shares.category,
    shares.effect,
    shares.n_bases::integer as n_bases,
    shares.n_data::integer as n_data,
    shares.sum_of_squares,
    shares.degrees_of_freedom::integer as degrees_of_freedom,
    shares.share,
    errors.share_error,
    sqrt(rests.sum_of_squares / nullif(rests.degrees_of_freedom, 0)) as residual_deviation,
    -- Of the mean of a base (over the data) and of a training set (over the bases).
    case shares.effect
        when 'base' then sqrt(rests.sum_of_squares / nullif(rests.degrees_of_freedom, 0) / shares.n_data)
        when 'data' then sqrt(rests.sum_of_squares / nullif(rests.degrees_of_freedom, 0) / shares.n_bases)
    end as standard_error_of_mean
from shares
inner join errors using (study_id, category, effect)
inner join shares as rests
    on
        shares.study_id = rests.study_id
        and shares.category = rests.category
        and rests.effect = 'rest'
        and rests.left_out is null
where shares.left_out is null

with wins as (
    select * from {{ ref('int_critique_wins') }}
),

-- Each item beside the same one by Bradley-Terry, and beside the same one by as many critiques of other responses.
paired as (
    select
        wins.*,
        wins.win - plain.win as gain,
        wins.win - placebo.win as placebo_gain
    from wins
    left join wins as plain
        on
            wins.study_id = plain.study_id
            and wins.model_id = plain.model_id
            and wins.benchmark = plain.benchmark
            and wins.subset = plain.subset
            and wins.item_id = plain.item_id
            and plain.critiques = 'none'
            and wins.critiques != 'none'
    left join wins as placebo
        on
            wins.study_id = placebo.study_id
            and wins.model_id = placebo.model_id
            and wins.benchmark = placebo.benchmark
            and wins.subset = placebo.subset
            and wins.item_id = placebo.item_id
            and wins.n_critiques = placebo.n_critiques
            and placebo.critiques = 'others'
            and wins.critiques in ('own', 'true')
),

figures as (
    select
        study_id,
        model_id,
        benchmark,
        critiques,
        case when critiques = 'none' then 0 else n_critiques end as n_critiques,
        count(*) as n_items,
        100 * avg(win) as accuracy,
        100 * stddev_samp(win) / sqrt(count(*)) as standard_error,
        100 * avg(gain) as gain_points,
        100 * stddev_samp(gain) / sqrt(count(gain)) as gain_error,
        100 * avg(placebo_gain) as placebo_points,
        100 * stddev_samp(placebo_gain) / sqrt(count(placebo_gain)) as placebo_error
    from paired
    group by all
),

completions as (
    select
        study_id,
        model_id,
        benchmark,
        critiques,
        avg(n_tokens_asked) as n_tokens_asked,
        avg(n_tokens_each) as n_tokens_each,
        100.0 * sum(n_without_reward) / sum(n_critiques) as percent_without_reward,
        count(distinct subset || '/' || item_id) filter (where not is_counted) as n_items_left_out
    from {{ ref('int_critique_completions') }}
    group by all
)

select
    figures.study_id,
    figures.model_id,
    figures.benchmark,
    figures.critiques,
    figures.n_critiques,
    figures.accuracy,
    figures.standard_error,
    greatest(0, figures.accuracy - {{ var('reach_of_95_percent') }} * figures.standard_error) as low,
    least(100, figures.accuracy + {{ var('reach_of_95_percent') }} * figures.standard_error) as high,
    figures.gain_points,
    figures.gain_points - {{ var('reach_of_95_percent') }} * figures.gain_error as gain_low,
    figures.gain_points + {{ var('reach_of_95_percent') }} * figures.gain_error as gain_high,
    figures.placebo_points,
    figures.placebo_points - {{ var('reach_of_95_percent') }} * figures.placebo_error as placebo_low,
    figures.placebo_points + {{ var('reach_of_95_percent') }} * figures.placebo_error as placebo_high,
    completions.n_tokens_asked + greatest(figures.n_critiques, 1) * completions.n_tokens_each as tokens_per_answer,
    completions.percent_without_reward,
    figures.n_items,
    completions.n_items_left_out
from figures
inner join completions using (study_id, model_id, benchmark, critiques)

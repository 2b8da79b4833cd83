with models as (
    select distinct
        study_id,
        model_id,
        pretrained_model_id
    from {{ ref('stg_lab_mixes') }}
),

-- Rows left by an earlier search have another run_id.
rates as (
    select
        study_id,
        objective,
        model_id,
        run_id,
        count(distinct learning_rate) as n_rates
    from {{ ref('stg_reward_model_runs') }}
    where status = 'finished'
    group by study_id, objective, model_id, run_id
),

selected as (
    select * from {{ ref('stg_reward_model_checkpoints') }}
    where is_selected
)

select
    searches.study_id,
    searches.objective,
    searches.model_id,
    models.pretrained_model_id,
    searches.accuracy_other_half,
    searches.accuracy_mean_rate,
    searches.accuracy_best_rate,
    coalesce(rates.n_rates, 0)::integer as n_rates,
    selected.weight_helpfulness,
    selected.weight_correctness,
    selected.weight_coherence,
    selected.weight_complexity,
    selected.weight_verbosity
from {{ ref('stg_reward_model_searches') }} as searches
inner join models using (study_id, model_id)
left join rates using (study_id, objective, model_id, run_id)
left join selected using (study_id, objective, model_id, run_id)

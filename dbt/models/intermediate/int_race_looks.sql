select
    entries.study_id,
    entries.objective,
    entries.place,
    entries.rung,
    entries.is_of_race,
    looks.model_id,
    looks.learning_rate,
    looks.benchmark,
    looks.n_examples,
    looks.n_steps,
    looks.n_trained_tokens,
    looks.n_scored_tokens,
    looks.n_items,
    looks.accuracy,
    looks.train_loss,
    looks.failure,
    looks.device_hours
from {{ ref('stg_race_entries') }} as entries
inner join {{ ref('stg_race_looks') }} as looks using (study_id, objective, look_id)

-- A cell is all that a lab varies but the mix.
with described as (
    select
        study_id,
        model_id,
        any_value(architecture) as architecture,
        any_value(hidden) as hidden,
        any_value(layers) as layers,
        any_value(vocabulary) as vocabulary,
        any_value(pretraining_tokens) as pretraining_tokens,
        any_value(parameters_m) as parameters_m,
        list(share order by domain) as shares
    from {{ ref('stg_lab_mixes') }}
    where model_id = pretrained_model_id
    group by study_id, model_id
)

select
    study_id,
    model_id,
    architecture,
    hidden,
    layers,
    vocabulary,
    pretraining_tokens,
    log10(1e6 * parameters_m) as log10_parameters,
    dense_rank() over (partition by study_id order by shares) as mix,
    format(
        '{} {} x {}, vocabulary {}, {} tokens', architecture, layers, hidden, vocabulary, pretraining_tokens
    ) as cell
from described

-- Reward of the chosen completion less that of the rejected one, by attribute: (helpfulness, ..., verbosity).
with margins as (
    select
        study_id,
        model_id,
        subset,
        item_id,
        attribute,
        sum(case completion when 'chosen' then reward else -reward end) as margin
    from {{ ref('int_base_rewards') }}
    where objective = 'regression' and status = 'ok'
    group by study_id, model_id, subset, item_id, attribute
    having count(*) = 2
),

weighted as (
    select
        margins.study_id,
        margins.model_id,
        margins.subset,
        margins.item_id,
        {% for name in ['helpfulness', 'correctness', 'coherence', 'complexity', 'verbosity'] %}
            max(margins.margin) filter (where margins.attribute = '{{ name }}') as margin_{{ name }},
        {% endfor %}
        sum(margins.margin * weights.weight) as margin_true,
        sum(margins.margin * sign(weights.weight)) as margin_equal
    from margins
    inner join {{ ref('stg_lab_attribute_weights') }} as weights using (study_id, attribute)
    group by margins.study_id, margins.model_id, margins.subset, margins.item_id
),

origins as (
    select distinct
        study_id,
        model_id,
        pretrained_model_id
    from {{ ref('stg_lab_mixes') }}
)

select
    weighted.*,
    origins.pretrained_model_id,
    merged.margin as margin_merged
from weighted
inner join origins using (study_id, model_id)
inner join margins as merged
    on
        weighted.study_id = merged.study_id
        and weighted.model_id = merged.model_id
        and weighted.subset = merged.subset
        and weighted.item_id = merged.item_id
        and merged.attribute = 'merged'

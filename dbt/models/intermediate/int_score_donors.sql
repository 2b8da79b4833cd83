-- Every model, compared or not, may lend its scores; the compared ones, the candidates and those of a lab get them.
with in_labs as (
    select distinct
        study_id,
        model_id
    from {{ ref('stg_lab_mixes') }}
),

models as (
    select
        models.study_id,
        models.model_id,
        models.family,
        models.params_b,
        models.tokens_t,
        models.is_compared or models.is_candidate or in_labs.model_id is not null as is_wanted
    from {{ ref('int_base_models') }} as models
    left join in_labs using (study_id, model_id)
),

scored as (
    select
        models.*,
        scorings.corpus,
        scorings.engine,
        scorings.content
    from models
    inner join {{ ref('int_document_scorings') }} as scorings using (study_id, model_id)
    where scorings.is_used
),

-- The largest member of a family with the same number of pre-training tokens; the later name on a tie.
largest as (
    select
        *,
        row_number() over (
            partition by study_id, family, tokens_t order by params_b desc, model_id desc
        ) as place
    from scored
    where
        family is not null
        and tokens_t is not null
        and params_b is not null
)

select
    models.study_id,
    models.model_id,
    coalesce(own.model_id, largest.model_id) as donor_model_id,
    own.model_id is not null as is_own,
    coalesce(own.corpus, largest.corpus) as corpus,
    coalesce(own.engine, largest.engine) as engine,
    coalesce(own.content, largest.content) as content
from models
left join scored as own using (study_id, model_id)
left join largest
    on
        models.study_id = largest.study_id
        and models.family = largest.family
        and models.tokens_t = largest.tokens_t
        and models.params_b is not null
        and largest.place = 1
where
    models.is_wanted
    and coalesce(own.model_id, largest.model_id) is not null

{#- A row stands as long as its scores and this file do: a scoring is read once. -#}
with donors as (
    select distinct
        study_id,
        donor_model_id as model_id,
        corpus,
        engine,
        content,
        '{{ model.checksum.checksum }}' as code
    from {{ ref('int_score_donors') }}
),

wanted as (
    select donors.* from donors
    {% if is_incremental() %}
        left join {{ this }} as known
            on
                donors.content = known.content
                and donors.code = known.code
        where known.content is null
    {% endif %}
),

scores as (
    select * from {{ ref('stg_document_scores') }}
),

failed as (
    select
        wanted.content,
        scores.domain,
        count(*) as n_errors
    from scores
    inner join wanted
        on
            scores.study_id = wanted.study_id
            and scores.model_id = wanted.model_id
            and scores.corpus = wanted.corpus
            and scores.engine = wanted.engine
    where scores.status != 'ok'
    group by wanted.content, scores.domain
),

-- Rounded, for threads add up in any order, and equal scores shall give equal rows.
scored as (
    select
        wanted.content,
        scores.domain,
        count(*) as n_ok,
        count(*) filter (where scores.is_truncated) as n_truncated,
        round(sum(scores.logprob_sum), 3) as logprob_sum,
        {% for kind in score_kinds() %}
            count(scores.{{ kind }}) as n_{{ kind }},
            round(avg(scores.{{ kind }}), 12) as mean_{{ kind }},
            round(var_samp(scores.{{ kind }}), 12) as variance_{{ kind }},
        {% endfor %}
        sum(scores.n_bytes_scored)::bigint as n_bytes_scored
    from scores
    inner join wanted
        on
            scores.study_id = wanted.study_id
            and scores.model_id = wanted.model_id
            and scores.corpus = wanted.corpus
            and scores.engine = wanted.engine
    where scores.status = 'ok'
    group by wanted.content, scores.domain
),

-- A domain of which nothing could be scored has its errors to show.
summed as (
    select
        coalesce(scored.content, failed.content) as content,
        coalesce(scored.domain, failed.domain) as domain,
        coalesce(scored.n_ok, 0) as n_ok,
        coalesce(failed.n_errors, 0) as n_errors,
        coalesce(scored.n_truncated, 0) as n_truncated,
        coalesce(scored.logprob_sum, 0) as logprob_sum,
        {% for kind in score_kinds() %}
            coalesce(scored.n_{{ kind }}, 0) as n_{{ kind }},
            scored.mean_{{ kind }},
            scored.variance_{{ kind }},
        {% endfor %}
        coalesce(scored.n_bytes_scored, 0) as n_bytes_scored
    from scored
    full outer join failed
        on
            scored.content = failed.content
            and scored.domain = failed.domain
)

select
    wanted.study_id,
    wanted.model_id,
    wanted.corpus,
    wanted.code,
    summed.*
from summed
inner join wanted on summed.content = wanted.content

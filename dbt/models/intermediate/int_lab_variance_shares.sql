-- Analysis of variance of the mean scores of a domain over models, in squares added up over the domains. Only cells
-- that differ in nothing but size and tokens, and only where each mix is in each of them. Size and tokens are not
-- orthogonal (no cell is large and long), so each gets the mean of what it explains before and after the other.
with grids as (
    select
        *,
        architecture || '/' || vocabulary as family,
        layers || ' x ' || hidden as size
    from {{ ref('int_lab_models') }}
),

families as (
    select
        study_id,
        family,
        count(*) as n_models,
        count(distinct mix) * count(distinct cell) as n_wanted,
        count(distinct cell) as n_cells
    from grids
    group by study_id, family
    having n_models = n_wanted and n_cells > 1 and count(distinct mix) > 1
    qualify row_number() over (partition by study_id order by n_models desc, family asc) = 1
),

scores as (
    select
        scores.study_id,
        scores.score_kind,
        scores.domain,
        grids.mix,
        grids.cell,
        grids.size,
        grids.pretraining_tokens as tokens,
        scores.mean_score - avg(scores.mean_score) over (
            partition by scores.study_id, scores.score_kind, scores.domain
        ) as deviation
    from {{ ref('int_lab_domain_scores') }} as scores
    inner join grids using (study_id, model_id)
    inner join families using (study_id, family)
),

effects as (
    {% for factor in ['mix', 'cell', 'size', 'tokens'] %}
        select
            study_id,
            score_kind,
            '{{ factor }}' as factor,
            sum(n_scores * deviation ** 2) as squares
        from (
            select
                study_id,
                score_kind,
                domain,
                {{ factor }},
                count(*) as n_scores,
                avg(deviation) as deviation
            from scores
            group by all
        )
        group by study_id, score_kind
        union all by name
    {% endfor %}
    select
        study_id,
        score_kind,
        'total' as factor,
        sum(deviation ** 2) as squares
    from scores
    group by study_id, score_kind
),

squares as (
    pivot effects on factor in ('mix', 'cell', 'size', 'tokens', 'total') using sum(squares)
    group by study_id, score_kind
),

shares as (
    select
        study_id,
        score_kind,
        mix / total as share_mix,
        (size + cell - tokens) / 2 / total as share_size,
        (tokens + cell - size) / 2 / total as share_tokens,
        (total - mix - cell) / total as share_rest
    from squares
    where total > 0
),

long as (
    unpivot shares on share_mix, share_size, share_tokens, share_rest into name statistic value value
)

select
    long.study_id,
    long.score_kind,
    long.statistic,
    long.value,
    families.n_models as n
from long
inner join families using (study_id)

-- Rounded: equal distances must be ties, and the roots of rounding errors are 1e-9.
with centred as (
    select
        * exclude (score_kind),
        replace(score_kind, 'centred_', '') as score_kind
    from {{ ref('int_lab_domain_scores') }}
    where starts_with(score_kind, 'centred_')
),

of_pairs as (
    select
        a.study_id,
        a.score_kind,
        a.model_id as model_a,
        b.model_id as model_b,
        any_value(a.cell) as cell_a,
        any_value(b.cell) as cell_b,
        any_value(a.mix) as mix_a,
        any_value(b.mix) as mix_b,
        any_value(abs(log10(a.pretraining_tokens) - log10(b.pretraining_tokens))) as budget_distance,
        sqrt(sum((a.mean_score - b.mean_score) ** 2)) as centred_means,
        sqrt(sum((a.share - b.share) ** 2)) as share_distance,
        sum(coalesce(a.share * log2(2 * a.share / nullif(a.share + b.share, 0)), 0)) as divergence_a,
        sum(coalesce(b.share * log2(2 * b.share / nullif(a.share + b.share, 0)), 0)) as divergence_b
    from centred as a
    inner join centred as b
        on
            a.study_id = b.study_id
            and a.score_kind = b.score_kind
            and a.domain = b.domain
            and a.model_id < b.model_id
    group by a.study_id, a.score_kind, a.model_id, b.model_id
),

estimated as (
    select
        study_id,
        score_kind,
        model_a,
        model_b,
        max(distance) filter (where domain = 'all') as all_documents,
        avg(distance) filter (where domain != 'all') as domain_wise
    from {{ ref('int_score_distances') }}
    where binning = 'quantile'
    group by study_id, score_kind, model_a, model_b
)

select
    of_pairs.study_id,
    of_pairs.score_kind,
    of_pairs.model_a,
    of_pairs.model_b,
    of_pairs.cell_a,
    of_pairs.cell_b,
    of_pairs.mix_a,
    of_pairs.mix_b,
    round(estimated.all_documents, 6) as all_documents,
    round(estimated.domain_wise, 6) as domain_wise,
    round(of_pairs.centred_means, 6) as centred_means,
    round(of_pairs.share_distance, 6) as share_distance,
    round(of_pairs.budget_distance, 6) as budget_distance,
    round(sqrt(greatest(0, of_pairs.divergence_a + of_pairs.divergence_b) / 2), 6) as mix_distance
from of_pairs
inner join estimated using (study_id, score_kind, model_a, model_b)

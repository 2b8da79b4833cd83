-- Results of each check: on a benchmark, or on the responses of a policy.
with results as (
    select
        study_id,
        check_name,
        benchmark,
        null::varchar as policy_id,
        null::varchar as prompt_set,
        value,
        status
    from {{ ref('stg_completion_checks') }}
    union all by name
    select
        study_id,
        check_name,
        null::varchar as benchmark,
        policy_id,
        prompt_set,
        value,
        status
    from {{ ref('stg_response_checks') }}
),

counted as (
    select
        study_id,
        check_name,
        benchmark,
        policy_id,
        prompt_set,
        status,
        count(*) as n,
        sum(value) as total
    from results
    group by all
)

select
    study_id,
    check_name,
    benchmark,
    policy_id,
    prompt_set,
    sum(n) as n_texts,
    coalesce(sum(n) filter (where status = 'ok'), 0) as n_checked,
    coalesce(sum(n) filter (where status = 'not_applicable'), 0) as n_not_applicable,
    coalesce(sum(n) filter (where status not in ('ok', 'not_applicable')), 0) as n_failed,
    sum(total) / nullif(n_checked, 0) as mean_value,
    string_agg(status || ': ' || n, '; ' order by n desc, status asc) filter (
        where status not in ('ok', 'not_applicable')
    ) as failures
from counted
group by all

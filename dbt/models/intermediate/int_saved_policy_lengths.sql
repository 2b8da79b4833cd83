-- How often the policies that runs saved come to an end by themselves, and how long the initial policy's responses are,
-- on the measured prompts: per run, and their mean over the runs of a reward (pooled), as int_policy_gains has them.
with responses as (
    select
        responses.study_id,
        responses.policy_id,
        responses.prompt_set,
        avg(responses.n_tokens) as mean_tokens,
        count(*) filter (where responses.finish_reason = 'stop')
        / nullif(count(*) filter (where responses.finish_reason in ('stop', 'length')), 0) as share_finished
    from {{ ref('stg_responses') }} as responses
    inner join {{ ref('stg_prompts') }} as prompts using (study_id, prompt_set, prompt_id)
    where prompts.split = 'measure'
    group by all
),

by_run as (
    select
        runs.study_id,
        runs.policy_id,
        saved.prompt_set,
        runs.reward_id,
        runs.method,
        'run' as scope,
        runs.policy_run_id,
        ends.step,
        saved.share_finished,
        initial.share_finished as share_finished_before,
        initial.mean_tokens as length_before
    from {{ ref('stg_policy_runs') }} as runs
    inner join {{ ref('stg_policy_run_policies') }} as ends using (study_id, policy_run_id)
    inner join responses as saved on ends.study_id = saved.study_id and ends.policy_id = saved.policy_id
    inner join responses as initial
        on
            runs.study_id = initial.study_id
            and runs.policy_id = initial.policy_id
            and saved.prompt_set = initial.prompt_set
    where runs.status = 'finished'
)

from by_run
union all by name
select
    study_id,
    policy_id,
    prompt_set,
    reward_id,
    method,
    'pooled' as scope,
    'pooled' as policy_run_id,
    step,
    avg(share_finished) as share_finished,
    any_value(share_finished_before) as share_finished_before,
    any_value(length_before) as length_before
from by_run
group by all

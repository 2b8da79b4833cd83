-- Places of the responses to the measured prompts in arrays: rows and columns from 0. A response without text has no
-- reward, and is none. Policies that were trained here are measured by their gains (int_policy_gains).
select
    responses.study_id,
    responses.policy_id,
    responses.prompt_set,
    responses.prompt_id,
    responses.response_no,
    dense_rank() over (
        partition by responses.study_id, responses.policy_id, responses.prompt_set
        order by responses.prompt_id
    ) - 1 as prompt_no,
    row_number() over (
        partition by responses.study_id, responses.policy_id, responses.prompt_set, responses.prompt_id
        order by responses.response_no
    ) - 1 as column_no,
    responses.n_bytes
from {{ ref('stg_responses') }} as responses
inner join {{ ref('stg_prompts') }} as prompts using (study_id, prompt_set, prompt_id)
inner join {{ ref('stg_policies') }} as policies using (study_id, policy_id)
where
    prompts.split = 'measure'
    and policies.kind != 'trained'
    and responses.status = 'ok'

-- The prompt set of each policy and gold reward that has most prompts; of equal ones the first by name.
select
    study_id,
    policy_id,
    gold_id,
    prompt_set,
    max(n_prompts) as n_prompts
from {{ ref('int_teacher_properties') }}
group by study_id, policy_id, gold_id, prompt_set
qualify
    row_number() over (
        partition by study_id, policy_id, gold_id
        order by max(n_prompts) desc, prompt_set
    ) = 1

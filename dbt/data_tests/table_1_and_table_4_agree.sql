-- Four models are in Table 1 and in Table 4 of the paper: the same reward models, so the same digits.
select
    excerpt.model_id,
    excerpt.score as table_1,
    whole.score as table_4
from {{ ref('table_1_post_training') }} as excerpt
inner join {{ ref('table_4_regression') }} as whole on excerpt.model_id = whole.model_id
where
    excerpt.chat != whole.chat
    or excerpt.chat_hard != whole.chat_hard
    or excerpt.safety != whole.safety
    or excerpt.reasoning != whole.reasoning
    or excerpt.score != whole.score

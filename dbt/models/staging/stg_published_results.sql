with table_4 as (
    select
        'regression' as objective,
        'table_4_regression' as source,
        model_id,
        chat,
        chat_hard,
        safety,
        reasoning,
        score
    from {{ ref('table_4_regression') }}
),

table_5 as (
    select
        'bradley_terry' as objective,
        'table_5_bradley_terry' as source,
        model_id,
        chat,
        chat_hard,
        safety,
        reasoning,
        score
    from {{ ref('table_5_bradley_terry') }}
),

-- Table 1 repeats models of Table 4 and adds two that only it has. Its values are those of the regression
-- objective: the four models in both tables have the same digits (a data test holds that).
table_1 as (
    select
        'regression' as objective,
        'table_1_post_training' as source,
        model_id,
        chat,
        chat_hard,
        safety,
        reasoning,
        score
    from {{ ref('table_1_post_training') }}
),

unioned as (
    select * from table_4
    union all
    select * from table_5
    union all
    select * from table_1
)

select
    'published' as study_id,
    objective,
    model_id,
    chat,
    chat_hard,
    safety,
    reasoning,
    score,
    source
from unioned

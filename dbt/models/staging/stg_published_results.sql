-- Table 1 repeats models of Table 4 and adds two that only it has. Its values are those of the regression
-- objective: the four models in both tables have the same digits (a data test holds that).
{% for table, objective in [
    ('table_4_regression', 'regression'),
    ('table_5_bradley_terry', 'bradley_terry'),
    ('table_1_post_training', 'regression'),
] %}
    select
        'published' as study_id,
        '{{ objective }}' as objective,
        model_id,
        chat,
        chat_hard,
        safety,
        reasoning,
        score,
        '{{ table }}' as source
    from {{ ref(table) }}
    where {{ listed_by_published(table) }}
    {{ 'union all' if not loop.last }}
{% endfor %}

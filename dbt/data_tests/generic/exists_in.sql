{# Every row exists in another relation by these columns: a foreign key over several columns.
   `other_columns`: their names there, where they differ. #}
{% test exists_in(model, columns, to, other_columns=none) %}
{% set theirs = other_columns or columns %}
-- The model is a query of its own where the test has a condition.
with child as (
    select * from {{ model }}
)

select {{ columns | join(', ') }}
from child
where
    {% for column in columns %}child.{{ column }} is not null and {% endfor %}
    not exists (
        select 1
        from {{ to }} as parent
        where
            {% for column in columns -%}
                parent.{{ theirs[loop.index0] }} = child.{{ column }}{{ ' and ' if not loop.last }}
            {%- endfor %}
    )
{% endtest %}

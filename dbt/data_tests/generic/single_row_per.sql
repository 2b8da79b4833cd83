{# No two rows agree in all of the columns; null counts as a value. #}
{% test single_row_per(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as n_rows
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}

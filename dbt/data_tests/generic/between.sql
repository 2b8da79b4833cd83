{# Every value that is not null is a finite number in [low, high], or from low up where no high is given. #}
{% test between(model, column_name, low, high=1e308) %}
select {{ column_name }}
from {{ model }}
where
    {{ column_name }} is not null
    and (not isfinite({{ column_name }}::double) or {{ column_name }} < {{ low }} or {{ column_name }} > {{ high }})
{% endtest %}

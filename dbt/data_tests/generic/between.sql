{# Every value that is not null is a finite number in [low, high], or from low up where no high is given. #}
{% test between(model, columns, low, high=1e308) %}
select {{ columns | join(', ') }}
from {{ model }}
where
    {% for column in columns -%}
        (
            {{ column }} is not null
            and (not isfinite({{ column }}::double) or {{ column }} < {{ low }} or {{ column }} > {{ high }})
        ){{ ' or ' if not loop.last }}
    {%- endfor %}
{% endtest %}

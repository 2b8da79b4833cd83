{# Lower (-) or upper (+) end of Wilson's 95 % interval of a share of n. #}
{% macro wilson_bound(share, n, side) -%}
    {%- set z = var('reach_of_95_percent') -%}
    (
        {{ share }} + {{ z }} ** 2 / (2 * {{ n }})
        {{ side }} {{ z }} * sqrt(
            greatest({{ share }} * (1 - {{ share }}), 0) / {{ n }} + {{ z }} ** 2 / (4 * {{ n }} ** 2)
        )
    ) / (1 + {{ z }} ** 2 / {{ n }})
{%- endmacro %}

{# A standard normal draw that depends only on a text: Box and Muller on two numbers from its MD5. #}
{% macro standard_normal(text) -%}
    sqrt(-2 * ln((md5_number_lower({{ text }})::double + 1) / 18446744073709551616))
    * cos(2 * pi() * md5_number_upper({{ text }})::double / 18446744073709551616)
{%- endmacro %}

{# Scores that are compared with the truth of a lab: those of score_kinds that are read as evidence of a mix. #}
{% macro lab_score_kinds() -%}
    {{ return(['presence_score', 'bits_per_byte', 'min_k', 'min_k_plus_plus']) }}
{%- endmacro %}

{# Scores that are held against the truth of a lab: those of score_kinds that the paper or its kin read as evidence. #}
{% macro lab_score_kinds() -%}
    {{ return(['presence_score', 'bits_per_byte', 'min_k', 'min_k_plus_plus']) }}
{%- endmacro %}

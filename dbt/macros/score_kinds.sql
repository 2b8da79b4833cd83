{# Scores of a document (definitions, Section 7), as the columns of raw.document_scores are named. #}
{% macro score_kinds() -%}
    {{ return(['presence_score', 'bits_per_byte', 'min_k', 'min_k_plus_plus', 'logprob_per_zlib_byte']) }}
{%- endmacro %}

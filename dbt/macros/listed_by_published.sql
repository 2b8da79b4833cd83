{# Figures of a seed belong to the published study, and to none where no study file lists the seed. #}
{% macro listed_by_published(seed) -%}
exists (
    select 1
    from {{ ref('stg_study_seeds') }} as listed
    where listed.study_id = 'published' and listed.seed = '{{ seed }}'
)
{%- endmacro %}

{# Say the number of rows of a table once it is built, for Dagster's record of the asset: dbt's own result has none. #}
{% macro say_rows() %}
    {%- if execute and model.config.materialized in ('table', 'incremental', 'seed') -%}
        {%- do log('rows: ' ~ run_query('select count(*) from ' ~ this).columns[0][0], info=true) -%}
    {%- endif -%}
{% endmacro %}

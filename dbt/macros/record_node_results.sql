{#
  One row per node of the project: status and time of its latest run. The publisher reads this table
  (audit.node_results) and refuses a snapshot while a test fails or is older than the model it tests. Results come in
  the order in which they were finished, and each is dated after all before it, by a microsecond where the clock says
  an earlier time: the order never hangs on a clock.
#}
{% macro record_node_results(results) %}
    {% if execute and flags.WHICH in ('build', 'run', 'test', 'seed') %}
        {% set rows = [] %}
        {# dbt's times are UTC without a time zone. #}
        {% for result in results %}
            {% set finished = (result.timing | map(attribute='completed_at') | select | list) %}
            {% do rows.append([
                result.node.unique_id,
                result.node.resource_type | string,
                result.node.name,
                result.status | string,
                result.failures,
                (result.message or '') | string,
                (result.node.depends_on.nodes or []) | join(','),
                (finished[-1] if finished else run_started_at).strftime('%Y-%m-%d %H:%M:%S.%f+00:00'),
                invocation_id,
            ]) %}
        {% endfor %}
        create schema if not exists audit;
            create table if not exists audit.node_results (
                node_id varchar not null,
                resource_type varchar not null,
                name varchar not null,
                status varchar not null,
                failures bigint,
                message varchar,
                depends_on varchar,
                finished_at timestamptz not null,
                invocation_id varchar not null
            );

        delete from audit.node_results
            where node_id in ({% for row in rows %}{{ sql_literal(row[0]) }}, {% endfor %}'');

        {% if rows %}
            insert into audit.node_results
                select
                    node_id, resource_type, name, status, failures, message, depends_on,
                    greatest(
                        max(finished_at) over (order by place),
                        coalesce((select max(finished_at) from audit.node_results), timestamptz 'epoch')
                    ) + to_microseconds(place),
                    invocation_id
                from (values
                {% for row in rows %}
                    ({{ loop.index }}, {% for value in row -%}
                        {{ sql_literal(value) }}{{ '::timestamptz' if loop.index == 8 }}{{ ', ' if not loop.last }}
                    {%- endfor %})
                    {{- ',' if not loop.last }}
                {% endfor %}) as found (
                    place, node_id, resource_type, name, status, failures, message, depends_on, finished_at,
                    invocation_id
                );

        {% endif %}
    {% endif %}
{% endmacro %}


{% macro sql_literal(value) -%}
    {%- if value is none -%} null
    {%- elif value is number -%} {{ value }}
    {%- else -%} '{{ value | replace("'", "''") }}'
    {%- endif -%}
{%- endmacro %}

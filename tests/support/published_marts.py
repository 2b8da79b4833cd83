"""Two small marts with a record of their tests: all that a publisher needs."""

from __future__ import annotations

from warehouse.connection import write
from warehouse.paths import Home

MARTS = """
create schema marts;
create table marts.dim_studies (study_id varchar not null, title varchar);
create table marts.fct_results (
    study_id varchar not null, model_id varchar not null, score double, n bigint
);
insert into marts.dim_studies values ('published', 'As published'), ('lab', 'It''s a lab');
insert into marts.fct_results select 'published', 'm' || i, i / 7, i from range(1000) as t(i);
insert into marts.fct_results values ('lab', 'NULL', null, null);
comment on table marts.fct_results is 'Results; one row per model''s run.';
comment on column marts.fct_results.score is 'Mean of the four categories.';
create schema audit;
create table audit.node_results (
    node_id varchar not null, resource_type varchar not null, name varchar not null,
    status varchar not null, failures bigint, message varchar, depends_on varchar,
    finished_at timestamptz not null, invocation_id varchar not null
);
insert into audit.node_results values
    ('model.r.fct_results', 'model', 'fct_results', 'success', null, 'OK', '', '2026-01-01 10:00:00+00', 'i'),
    ('model.r.dim_studies', 'model', 'dim_studies', 'success', null, 'OK', '', '2026-01-01 10:00:00+00', 'i'),
    ('unit_test.r.u', 'unit_test', 'u', 'pass', 0, null, 'model.r.fct_results', '2026-01-01 09:59:00Z', 'i'),
    ('test.r.grain', 'test', 'grain', 'pass', 0, null, 'model.r.fct_results,model.r.dim_studies',
        '2026-01-01 10:01:00+00', 'i'),
    ('test.r.soft', 'test', 'soft', 'warn', 1, null, 'model.r.dim_studies', '2026-01-01 10:01:00+00', 'i');
"""


def change(home: Home, sql: str) -> None:
    """Run statements in the warehouse, in one transaction."""
    with write(home.warehouse) as connection:
        connection.execute(f"begin; {sql}; commit")

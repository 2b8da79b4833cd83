"""Two small marts with a record of their tests, all that a publisher needs; many publishes; the published snapshot."""

from __future__ import annotations

import os
import time
from pathlib import Path

import duckdb

from warehouse.connection import write
from warehouse.paths import Home
from warehouse.publish import publish

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


def warehouse_with_numbers(root: Path) -> Home:
    """A home whose two marts have a column `n` that `publish_many` writes one number into."""
    home = Home(root).ensure()
    change(home, MARTS + "alter table marts.dim_studies add column n bigint")
    change(home, "update marts.dim_studies set n = -1; update marts.fct_results set n = -1")
    publish(home)
    return home


def publish_many(home: Home, n: int, *, keep: int, grace_seconds: float) -> list[float]:
    """Change both marts and publish, n times; returns the seconds that each publish took."""
    seconds = []
    for number in range(n):
        change(home, f"update marts.dim_studies set n = {number}; update marts.fct_results set n = {number}")
        began = time.monotonic()
        assert publish(home, keep=keep, grace_seconds=grace_seconds).changed
        seconds.append(time.monotonic() - began)
    return seconds


def published_state(home: Path) -> tuple[str, int, str]:
    """Where the pointer points, when its file was written (nanoseconds), and the snapshot's id."""
    pointer = home / "published" / "current.duckdb"
    with duckdb.connect(str(pointer), read_only=True) as connection:
        snapshot = connection.execute("select snapshot_id from marts.snapshot").fetchone()
    assert snapshot is not None
    return os.readlink(pointer), pointer.stat().st_mtime_ns, snapshot[0]


def publish_to_bucket(arguments: list[str]) -> None:
    """Change both marts, publish here, then to an address; called by `tests/support/forked.py`, and killed there."""
    from models_train.store import Store
    from warehouse.publish_remote import publish_remote

    root, address, number, hours = arguments
    home = Home(Path(root))
    change(home, f"update marts.dim_studies set n = {number}; update marts.fct_results set n = {number}")
    publish(home, keep=2, grace_seconds=10)
    publish_remote(home, Store.at(address), keep=3, hours=float(hours))

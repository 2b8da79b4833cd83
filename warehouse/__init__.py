"""The DuckDB file of Rewardbase. Knows no torch and no Dagster.

On the way of the data: `contracts` (columns of the raw tables), `part_files` (parts on disk), `landing` (parts into raw
tables), `dbt_nodes` (results of dbt's nodes), `checks` (of the results), `content_id` (hashes of tables), `publish`
(snapshots for readers), `reports` (the page) and `cli` (answer, recommendation, SQL shell). `performance_inputs` writes
the marts that the performance model reads, `connection` opens DuckDB files, and `paths` names the files under
REWARDBASE_HOME.
"""

"""The DuckDB file of Rewardbase. Knows no torch and no Dagster.

In the order of the data flow: `contracts` (columns of the raw tables), `part_files` (parts on disk), `landing` (parts
into raw tables), `dbt_nodes` (results of dbt's nodes), `checks` (of the results), `content_id` (hashes of tables),
`reports` (the page), `publish` (snapshots for readers) and `cli` (answer, recommendation, SQL shell).
`connection` opens DuckDB files, and `paths` names the files under REWARDBASE_HOME.
"""

"""Modules shared by the definitions in `defs/` and the commands in `cli/`.

keys: names of assets, groups, partitions and code versions. due: due work. stale: assets to materialize again.
run_requests: both as runs, for `make run`, the sensor and the schedule. executor, progress: execution and display of
these runs by `make run`. automation: conditions of the assets that follow. locks: exclusion of `make run` and the
daemon. study_plan: study files as parts. jobs: steps that run a job of models_train. dbt, dbt_component: the dbt
project, and its assets. storage, postgres: where Dagster keeps its records, checked before any work. failures: user
errors as Dagster failures.
"""

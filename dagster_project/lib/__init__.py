"""What the definitions in `defs/` and the commands in `cli/` share.

keys: names of assets, groups, partitions and code versions. due: due work. stale: assets to make again. run_requests:
both as runs, for `make run`, the sensor and the schedule. executor, progress: how `make run` executes and shows them.
automation: conditions of the assets that follow. locks: `make run` beside the daemon. study_plan: study files as
parts. jobs: steps that run a job of models_train. dbt, dbt_component: the dbt project, and its assets. failures:
errors for people as Dagster failures.
"""

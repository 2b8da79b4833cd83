"""The science of Rewardbase. Knows no Dagster, no DuckDB; of the project it imports `warehouse.contracts`.

`study` (the study file), `modeling` and `data` (models and data sets), `reward_models` (training), `logprobs` and `mix`
(scores of documents), `benchmarks`, `selection` (the performance model), `synthetic` (the lab), `jobs` (processes). For
all of them: `parts` (Parquet parts), `metering` (costs), `errors` (errors for users), `files` (atomic writes),
`telemetry` (disabled).
"""

"""The science of Rewardbase. Knows no Dagster, no DuckDB; of the project it imports `warehouse.contracts`."""

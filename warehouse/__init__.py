"""The DuckDB file of Rewardbase: contracts, landing, seeds, publishing. Knows no torch and no Dagster."""

"""Jobs: `python -m models_train.jobs.<name>`. Each runs alone and under Dagster Pipes."""

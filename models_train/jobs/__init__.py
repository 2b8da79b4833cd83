"""Jobs: `python -m models_train.jobs.<name>`. Each runs alone and under Dagster Pipes."""

from models_train import telemetry

# Before a job imports the libraries that it is about.
telemetry.switch_off()

"""Jobs: one process per piece of work, which writes its results as parts.

`command_line` lists the jobs, their flags and the errors that they report; `reporting` sends progress, figures and
failures to Dagster or to the terminal; `training_job` holds the settings and folders of one base model and objective;
`cluster` gives shards and trainings to a Ray cluster.
Every other module is a job: `python -m models_train.jobs <job> --help`.
"""

import os

from models_train import telemetry

# Before a job imports the libraries that it is about.
telemetry.switch_off()
# Progress bars of loading weights would interrupt the job's own.
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

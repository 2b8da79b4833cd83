"""`python -m models_train.jobs <job> ...`; `--help` lists the jobs."""

from models_train.jobs.command_line import run_job

if __name__ == "__main__":
    run_job()

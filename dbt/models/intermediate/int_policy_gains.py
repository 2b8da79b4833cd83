"""What policy runs gain at each saved step, per run and over the seeds, with intervals."""

from models_train.teachers.gains import policy_gains


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_policy_run_prompts").sql_query()).pl()
    return policy_gains(cells, dbt.config.get("resamples")).to_arrow()

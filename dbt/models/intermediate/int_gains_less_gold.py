"""What policies gain by each teacher less what they gain by the gold reward itself, paired by seed and prompt."""

from models_train.teachers.gains import gains_less_gold


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_policy_run_prompts").sql_query()).pl()
    return gains_less_gold(cells, dbt.config.get("resamples")).to_arrow()

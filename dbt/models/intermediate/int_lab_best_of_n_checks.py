"""Best of n held against the truth of every lab: its estimate, its distance, and the lineage of reward models."""

from threadpoolctl import threadpool_limits

from models_train.teachers.truth_checks import truth_checks


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_measured_responses").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_response_arrays").sql_query()).pl()
    golds = session.execute(f"from ({dbt.ref('stg_gold_rewards').sql_query()}) where kind = 'lab'").pl()
    lineages = session.execute(dbt.ref("int_policy_rewards").sql_query()).pl()
    with threadpool_limits(1):
        rows = truth_checks(cells, arrays, golds, lineages, dbt.config.get("resamples"))
    return rows.to_arrow()

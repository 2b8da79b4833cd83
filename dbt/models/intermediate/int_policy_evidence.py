"""Best of n and accuracy of every reward on the responses of every policy, in resamples of the prompts."""

from models_train.teachers.evidence import POLICY_EVIDENCE, policy_evidence
from models_train.teachers.tables import Settings, over_comparisons


def model(dbt, session):
    dbt.config(materialized="table")
    cells = session.execute(dbt.ref("int_measured_responses").sql_query()).pl()
    arrays = session.execute(dbt.ref("int_response_arrays").sql_query()).pl()
    golds = session.execute(dbt.ref("stg_gold_rewards").sql_query()).pl()
    settings = Settings.of(session.execute(dbt.ref("stg_teacher_settings").sql_query()).pl())
    resamples = dbt.config.get("resamples")

    def rows(one):
        return policy_evidence(one, resamples, settings.sizes(one))

    return over_comparisons(rows, POLICY_EVIDENCE, cells, arrays, golds).to_arrow()

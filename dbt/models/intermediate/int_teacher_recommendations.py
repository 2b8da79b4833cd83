"""Base models to train reward models on, by policy and use, with the evidence."""

from models_train.teachers.recommendation import Tables, recommend_teachers


def model(dbt, session):
    dbt.config(materialized="table")
    candidates = session.execute(dbt.ref("int_teacher_candidates").sql_query()).pl()
    policies = session.execute(
        f"select study_id, policy_id, family from ({dbt.ref('stg_policies').sql_query()}) where kind != 'trained'"
    ).pl()
    evidence = session.execute(dbt.ref("int_teacher_evidence").sql_query()).pl()
    return recommend_teachers(Tables(candidates, policies, evidence)).to_arrow()

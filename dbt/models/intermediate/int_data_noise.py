"""Share of wrong labels in preferences and their variants, from the margins of reward models of other folds."""

from models_train.teachers.label_noise import data_noise


def model(dbt, session):
    dbt.config(materialized="table")
    labels = session.execute(
        f"""
        select study_id, data_id, prompt_id, cross_fitted_margin from ({dbt.ref("stg_preference_labels").sql_query()})
        where split = 'train' and is_kept and cross_fitted_margin is not null
        """
    ).pl()
    return data_noise(labels, dbt.config.get("resamples")).to_arrow()

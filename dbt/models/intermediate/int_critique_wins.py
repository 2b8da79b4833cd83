"""Chance of each item being won with some critiques per completion."""

import polars as pl

from models_train.selection.critique_wins import critique_wins


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_critique_completions").sql_query()).pl()
    order = ["study_id", "model_id", "benchmark", "critiques", "subset", "item_id", "completion"]
    return critique_wins(completions.filter(pl.col("is_counted")).sort(order)).to_arrow()

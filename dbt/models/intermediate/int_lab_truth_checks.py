"""Estimates against the truth of every lab: rank correlations over resampled mixes, and pairs won on the test set."""

import polars as pl

from models_train.synthetic.checks import SCHEMA, LabTables, check_rows


def model(dbt, session):
    dbt.config(materialized="table")
    resamples = dbt.config.get("resamples")
    tables = {
        "scores": dbt.ref("int_lab_domain_scores").sql_query(),
        "distances": dbt.ref("int_lab_distances").sql_query(),
        "documents": dbt.ref("int_lab_document_scores").sql_query(),
        "outcomes": dbt.ref("int_lab_test_outcomes").sql_query(),
        "searches": dbt.ref("int_lab_searches").sql_query(),
        "true_weights": dbt.ref("stg_lab_attribute_weights").sql_query(),
    }
    found = [pl.DataFrame(schema={"study_id": pl.String} | SCHEMA)]
    studies = f"select distinct study_id from ({tables['true_weights']}) order by all"
    for (study,) in session.execute(studies).fetchall():
        lab = {
            name: session.execute(f"select * from ({table}) where study_id = ? order by all", [study]).pl()
            for name, table in tables.items()
        }
        rows = check_rows(LabTables(**lab), resamples, study)
        found.append(rows.select(pl.lit(study).alias("study_id"), pl.all()))
    return pl.concat(found).to_arrow()

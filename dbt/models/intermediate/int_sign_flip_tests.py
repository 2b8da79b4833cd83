"""Sign-flip test of two reward models on the same pairs, per category and score.

Not where a pair can be won in part: its sign alone does not tell how far the two are apart.
"""

from models_train.selection.paired_comparisons import REWARD_MODELS, sign_flip_tests


def model(dbt, session):
    dbt.config(materialized="table")
    # Settings are in the yml; dbt finds these calls by reading the file, so they take literals only.
    flips = dbt.config.get("flips")
    outcomes = dbt.ref("int_paired_outcomes")
    whole = outcomes.query("o", f"from o qualify not bool_or(has_parts) over (partition by {', '.join(REWARD_MODELS)})")
    return sign_flip_tests(whole.pl(), flips=flips).to_arrow()

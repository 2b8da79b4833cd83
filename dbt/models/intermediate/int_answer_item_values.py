"""Value of each item of a study's answer benchmark, other than RewardBench, under each base model's reward model."""

from models_train.selection.item_tables import ITEM_VALUES, item_values, over_benchmarks


def model(dbt, session):
    dbt.config(materialized="table")
    completions, arrays = dbt.ref("int_benchmark_completions").sql_query(), dbt.ref("int_reward_arrays").sql_query()
    sources, answers = dbt.ref("int_base_reward_sources").sql_query(), dbt.ref("int_answer_benchmarks").sql_query()
    wanted = f"semi join (from ({answers}) where benchmark != 'rewardbench') using (study_id, benchmark)"
    of_base_models = f"semi join ({sources}) using (study_id, reward_id)"
    return over_benchmarks(
        item_values,
        ITEM_VALUES,
        session.execute(f"from ({completions}) {wanted}").pl(),
        session.execute(f"from ({arrays}) {wanted} {of_base_models}").pl(),
    ).to_arrow()

"""Value of each item of a study's answer benchmark, other than RewardBench, under each base model's reward model."""

from models_train.selection.item_tables import ITEM_VALUES, item_values, over_benchmarks


def model(dbt, session):
    dbt.config(materialized="table")
    completions = session.execute(dbt.ref("int_benchmark_completions").sql_query()).pl()
    arrays = dbt.ref("int_reward_arrays").sql_query()
    sources, answers = dbt.ref("int_base_reward_sources").sql_query(), dbt.ref("int_answer_benchmarks").sql_query()
    wanted = session.execute(
        f"""
        select arrays.*
        from ({arrays}) as arrays
        inner join ({answers}) as answers using (study_id, benchmark)
        inner join ({sources}) as sources using (study_id, reward_id)
        where benchmark != 'rewardbench'
        """
    ).pl()
    return over_benchmarks(item_values, ITEM_VALUES, completions, wanted).to_arrow()

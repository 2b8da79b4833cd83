"""What is published about teachers, and what leaderboards are built on: the figures, by SQL on the marts."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from scipy import stats


def row(warehouse: duckdb.DuckDBPyConnection, **cell: str) -> dict:
    """The row of the marts' predictors of a cell; RLOO and the gold gain unless others are named."""
    wanted = {"basis": "published", "method": "RLOO", "target": "gold_gain", "selection": "all"} | cell
    where = " and ".join(f"{name} = ${name}" for name in wanted)
    found = warehouse.execute(f"select * from marts.fct_teacher_predictors where {where}", wanted).pl()
    assert found.height == 1, found
    return found.row(0, named=True)


@pytest.mark.parametrize(
    ("method", "predictor", "target", "spearman", "p_shared"),
    [
        ("RLOO", "reward_variance", "proxy_gain", 0.867, 0.083),
        ("RLOO", "reward_variance", "gold_gain", -0.439, 0.417),
        ("RLOO", "on_policy_accuracy", "gold_gain", 0.569, 0.208),
        ("RLOO", "off_policy_accuracy", "gold_gain", 0.305, 0.583),
        ("RLOO", "rewardbench", "gold_gain", 0.691, 0.083),
        ("RLOO", "variance_and_mean_accuracy", "gold_gain", -0.039, 1.0),
        ("GRPO", "reward_variance", "gold_gain", -0.400, 0.417),
        ("GRPO", "reward_variance", "proxy_gain", 0.867, 0.083),
    ],
)
def test_within_policies_variance_ranks_the_proxy_gain_not_the_gold_gain(
    warehouse: duckdb.DuckDBPyConnection, method: str, predictor: str, target: str, spearman: float, p_shared: float
) -> None:
    found = row(warehouse, policy="within", method=method, predictor=predictor, target=target)
    assert round(found["spearman"], 3) == spearman and round(found["p_shared"], 3) == p_shared
    assert found["n"] == 4 and found["n_policies"] == (6 if method == "RLOO" else 3)
    assert found["low"] is None and "no p below 1/24" in found["note"] and found["smallest_p"] >= 1 / 24


def test_between_policies_variance_follows_the_gold_gain(warehouse: duckdb.DuckDBPyConnection) -> None:
    between = row(warehouse, policy="between", predictor="reward_variance")
    assert (round(between["pearson"], 3), round(between["spearman"], 3), between["n"]) == (0.742, 0.829, 6)
    assert round(between["critical_pearson"], 4) == 0.8114 and round(between["critical_spearman"], 3) == 0.886
    pooled = row(warehouse, policy="pooled", predictor="reward_variance")
    centred = row(warehouse, policy="centred", predictor="reward_variance")
    assert (round(pooled["pearson"], 3), round(centred["pearson"], 3)) == (0.635, -0.248)
    for found in (pooled, centred):
        assert found["n"] == 24 and found["p_exact"] is None and found["low"] is None
        assert "not independent" in found["note"]


def test_printed_correlations_carry_interval_and_critical_values(warehouse: duckdb.DuckDBPyConnection) -> None:
    printed = row(
        warehouse, basis="printed", method="as in the paper", paper_tables="Table 2", predictor="reward_variance"
    )
    assert (printed["pearson"], printed["n"]) == (0.834, 6)
    assert (round(printed["low"], 2), round(printed["high"], 2)) == (0.07, 0.98)
    assert round(printed["critical_pearson"], 4) == 0.8114
    significant = warehouse.execute(
        "select count(*) filter (where abs(spearman) >= critical_spearman), count(*) from marts.fct_teacher_predictors "
        "where basis = 'printed' and paper_tables = 'Table 2' and target = 'gold_gain'"
    ).fetchone()
    assert significant == (0, 5)


@pytest.mark.parametrize(
    ("selection", "target", "n", "pearson", "interval", "spearman", "kendall"),
    [
        ("all", "ppo", 17, 0.717, (0.36, 0.89), -0.04, -0.12),
        ("without flipped labels", "ppo", 14, -0.720, (-0.90, -0.31), -0.72, -0.62),
        ("own lineage", "ppo", 9, -0.255, (-0.79, 0.49), -0.33, -0.25),
        ("all", "best_of_16", 17, 0.915, (0.78, 0.97), 0.79, 0.66),
        ("without flipped labels", "best_of_16", 14, 0.663, (0.20, 0.88), 0.67, 0.53),
        ("own lineage", "best_of_16", 9, 0.716, (0.10, 0.94), 0.61, 0.48),
    ],
)
def test_rewardbench_2_follows_best_of_16_and_not_ppo(
    warehouse: duckdb.DuckDBPyConnection, selection: str, target: str, n: int, pearson: float,
    interval: tuple[float, float], spearman: float, kendall: float,
) -> None:  # fmt: skip
    method = "PPO" if target == "ppo" else "best of 16"
    found = row(warehouse, selection=selection, target=target, method=method, policy="Tulu 3 8B SFT")
    assert found["n"] == n and round(found["pearson"], 3) == pearson
    assert (round(found["low"], 2), round(found["high"], 2)) == interval
    assert (round(found["spearman"], 2), round(found["kendall"], 2)) == (spearman, kendall)


def test_q_values_are_benjamini_and_hochbergs_over_a_target(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = warehouse.execute(
        "select coalesce(p_shared, p_exact) as p, q from marts.fct_teacher_predictors where study_id = 'teachers' "
        "and target = 'gold_gain' and q is not null"
    ).pl()
    # Six predictors within RLOO's and GRPO's policies; between RLOO's six policies, the four that differ there.
    assert found.height == 16
    np.testing.assert_allclose(found["q"], stats.false_discovery_control(found["p"].to_numpy()))
    assert found["q"].min() > 0.5


def test_table_3_of_rewardbench_2_is_built_on_llama(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = warehouse.execute(
        "select * from marts.fct_leaderboard_bases where study_id = 'rewardbench2' and leaderboard = 'RewardBench 2'"
    ).pl()
    whole = {each["family"]: each for each in found.filter(top_k="all").to_dicts()}
    assert {family: each["n"] for family, each in whole.items()} == {"Llama-3.x": 13, "Gemma-2": 4, "judge": 8}
    llama = whole["Llama-3.x"]
    assert (llama["n_entries"], llama["judges"], llama["unknown"]) == (25, 8, 0)
    assert (round(100 * llama["share"], 1), round(100 * llama["share_of_known"], 1)) == (52.0, 76.5)
    interval = stats.binomtest(13, 25).proportion_ci(method="wilson")
    assert (llama["low"], llama["high"]) == pytest.approx((interval.low, interval.high))
    assert whole["judge"]["share_of_known"] is None
    assert set(found["top_k"]) == {"10", "all"}, "25 entries have no best 30"
    assert found.filter(top_k="10")["n"].sum() == 10


def test_averages_of_table_3_are_the_means_of_six_domains(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = warehouse.execute(
        "select count(*), max(abs(list_avg(map_values(results::json::map(varchar, double))) - score)), "
        "min(cardinality(results::json::map(varchar, double))) from marts.fct_leaderboard_entries "
        "where study_id = 'rewardbench2'"
    ).fetchone()
    assert found is not None and found[0] == 25 and found[1] <= 0.05 + 1e-9 and found[2] == 6
    mean, printed = warehouse.execute(
        "select avg(value) filter (where category <> 'average'), max(value) filter (where category = 'average') "
        "from marts.fct_base_by_data_results where model_id = 'Tulu 8B RL' and training_data = 'Tulu'"
    ).fetchall()[0]
    assert (round(mean, 2), printed) == (62.43, 62.5)


def test_the_example_of_reward_benchs_readme_has_its_score(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = warehouse.execute(
        "select entry, chat, chat_hard, safety, reasoning, score from intermediate.int_leaderboard_category_scores "
        "order by entry"
    ).fetchall()
    (name, *values), (other, *_, score) = found
    assert [round(value, 3) for value in values] == [60.894, 44.956, 72.162, 46.676, 56.172]
    assert (name, other, score) == ("PKU-Alignment/beaver-7b-v1.0-cost", "org/part", None), "a subset is missing"


def test_merges_judges_and_what_was_looked_up_count_as_they_are(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = warehouse.execute("select * from marts.fct_leaderboard_bases where study_id = 'yours' order by family").pl()
    assert dict(zip(found["family"], found["n"], strict=True)) == {
        "Llama-3.x": 1.5, "Mistral": 0.5, "Yi": 1.0, "judge": 1.0, "unknown": 1.0,
    }  # fmt: skip
    assert set(found["n_entries"]) == {5} and set(found["judges"]) == {1} and set(found["unknown"]) == {1}
    known = dict(zip(found["family"], found["share_of_known"], strict=True))
    assert known["Llama-3.x"] == pytest.approx(0.5) and known["Yi"] == pytest.approx(1 / 3) and known["unknown"] is None
    assert found.filter(family="Llama-3.x")["n_by_name"].item() == 1
    entries = warehouse.execute(
        "select entry, base_family, base_source from marts.fct_leaderboard_entries "
        "where study_id = 'yours' order by place"
    ).fetchall()
    assert entries == [
        ("openai/judge", "judge", "judge"),
        ("Nexusflow/Starling-RM-34B", "Yi", "table"),
        ("PKU-Alignment/beaver-7b-v1.0-cost", "unknown", "unknown"),
        ("org/merge", "Llama-3.x + Mistral", "card"),
        ("org/part", "Llama-3.x", "name"),
    ]

"""The paper's own sentences (arXiv 2505.10775) come out of the published marts."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb
import pytest
from polars.testing import assert_frame_equal

from dagster_project.environment import SEEDS
from tests.support import marts_database


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[tuple]:
    return connection.execute(query).fetchall()


def test_forty_models_stand_in_each_result_table(published: duckdb.DuckDBPyConnection) -> None:
    counts = rows(
        published, "select objective, count(*), count(distinct model_id) from fct_reward_model_results group by 1"
    )
    assert sorted(counts) == [("bradley_terry", 40, 40), ("regression", 40, 40)]


def test_gains_of_the_best_run_from_3_1_to_14_3_points(published: duckdb.DuckDBPyConnection) -> None:
    """Abstract: up to 14 %; section 1: 3 % to 14 %. They are points."""
    best = rows(
        published,
        """
        select objective, size_group, model_id, round(gain_points, 1)
        from fct_size_group_gains where rank_in_group = 1 order by gain_points
        """,
    )
    assert best[0] == ("regression", ">=3 and <6", "Qwen2.5-3B-Instruct", 3.1)
    assert best[-1] == ("bradley_terry", "<3", "gemma-2-2b-it", 14.3)
    assert [row[3] for row in best] == [3.1, 4.9, 7.4, 10.8, 13.6, 14.3]


def test_winners_have_the_highest_score_and_a_gap_to_the_second(published: duckdb.DuckDBPyConnection) -> None:
    """Against a second computation, model by model."""
    gains, results = (published.table(name).pl() for name in ("fct_size_group_gains", "fct_reward_model_results"))
    found = published.table("fct_size_group_winners").pl()
    expected = marts_database.winners(gains, results).select(found.columns)
    by = ["objective", "size_group"]
    assert found.height == 6
    assert_frame_equal(found.sort(by), expected.sort(by), check_dtypes=False)


def test_one_lead_of_six_is_clear_once_training_runs_count(published: duckdb.DuckDBPyConnection) -> None:
    leads = rows(
        published,
        "select gap_points / gap_error > 1.96, gap_points / gap_error_with_runs > 1.96 from fct_size_group_winners",
    )
    assert [sum(column) for column in zip(*leads, strict=True)] == [2, 1]


def test_two_defaults_stand_near_chance(published: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        published,
        """
        select objective, default_model_id, default_score from fct_size_group_gains
        where is_default and is_near_chance order by default_score
        """,
    )
    assert found == [
        ("bradley_terry", "Llama-3.2-1B-Instruct", 55.6), ("bradley_terry", "Llama-3.2-3B-Instruct", 56.9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "change", "error", "z", "z_with_runs"),
    [
        ("Llama-3.1-Tulu-3-8B-DPO", -2.6, 1.06, 2.5, 1.7),
        ("Llama-3.1-Tulu-3-8B", -1.4, 1.10, 1.3, 0.9),
    ],
)
def test_steps_after_sft_are_within_the_noise_of_training_runs(
    published: duckdb.DuckDBPyConnection, model: str, change: float, error: float, z: float, z_with_runs: float
) -> None:
    (found,) = rows(
        published,
        f"""
        select change_from_parent_points, change_from_parent_error,
            abs(change_from_parent_points) / change_from_parent_error,
            abs(change_from_parent_points) / change_from_parent_error_with_runs, is_change_from_parent_distinguishable
        from fct_post_training_stages where model_id = '{model}' and category = 'score'
        """,
    )
    assert tuple(round(value, digits) for value, digits in zip(found[:4], (1, 2, 1, 1), strict=True)) == (
        change, error, z, z_with_runs,
    )  # fmt: skip
    assert not found[4]


def test_both_steps_after_sft_together_are_beyond_noise(published: duckdb.DuckDBPyConnection) -> None:
    ((change, error, with_runs),) = rows(
        published,
        """
        select max(score) - min(score), sqrt(sum(score_standard_error_approximate ** 2)),
            sqrt(sum(score_standard_error_approximate ** 2 + run_deviation ** 2))
        from fct_reward_model_results
        where objective = 'regression' and model_id in ('Llama-3.1-Tulu-3-8B-SFT', 'Llama-3.1-Tulu-3-8B')
        """,
    )
    assert (round(change, 1), round(change / error, 1), round(change / with_runs, 1)) == (4.0, 3.7, 2.7)


def test_bradley_terry_is_better_for_no_model_beyond_noise(published: duckdb.DuckDBPyConnection) -> None:
    """Without training runs the three differences have z of -1.95, -1.37 and -0.65."""
    found = rows(
        published,
        """
        select round(difference_points / standard_error, 2), is_distinguishable from fct_objective_differences
        where category = 'score' and difference_points < 0 order by 1
        """,
    )
    assert found == [(-1.95, False), (-1.37, False), (-0.65, False)]


def test_defaults_are_the_llama_models_of_each_size(published: duckdb.DuckDBPyConnection) -> None:
    found = rows(published, "select distinct size_group, default_model_id from fct_size_group_gains order by 1")
    assert found == [
        ("<3", "Llama-3.2-1B-Instruct"),
        (">=3 and <6", "Llama-3.2-3B-Instruct"),
        (">=6", "Llama-3.1-8B-Instruct"),
    ]
    counts = dict(rows(published, "select size_group, count(distinct model_id) from fct_size_group_gains group by 1"))
    assert counts == {"<3": 12, ">=3 and <6": 7, ">=6": 21}


def test_every_change_of_table_1_recomputes_to_the_printed_digit(published: duckdb.DuckDBPyConnection) -> None:
    computed = {
        (model, category): change
        for model, category, change in rows(
            published, "select model_id, category, change_percent from fct_post_training_stages"
        )
    }
    with open(SEEDS / "table_1_post_training.csv", newline="") as file:
        printed = list(csv.DictReader(file))
    checked = 0
    for row in printed:
        for category in ("chat", "chat_hard", "safety", "reasoning", "score"):
            value = row[f"{category}_delta_pct"]
            if value == "":
                assert computed[row["model_id"], category] is None
            else:
                change = computed[row["model_id"], category]
                assert f"{change:.1f}" == f"{float(value):.1f}", (row["model_id"], category)
                checked += 1
    assert checked == 25


@pytest.mark.parametrize(
    ("model", "stage", "printed"),
    [
        ("Llama-3.1-Tulu-3-8B-SFT", "sft", "15.5"),
        ("Llama-3.1-Tulu-3-8B-DPO", "dpo", "11.9"),
        ("Llama-3.1-Tulu-3-8B", "rlvr", "10.0"),
    ],
)
def test_tulu_stages_over_llama_3_1_8b(
    published: duckdb.DuckDBPyConnection, model: str, stage: str, printed: str
) -> None:
    """Section 5.1: +15.5 % by SFT, less after the steps that follow."""
    found = rows(
        published,
        f"""
        select stage, base_model_id, change_percent, change_points from fct_post_training_stages
        where model_id = '{model}' and category = 'score'
        """,
    )
    assert len(found) == 1
    assert found[0][:2] == (stage, "Llama-3.1-8B")
    assert f"{found[0][2]:.1f}" == printed
    assert found[0][3] == pytest.approx(found[0][2] * 72.9 / 100)


def test_alignment_after_sft_costs_three_to_five_percent(published: duckdb.DuckDBPyConnection) -> None:
    found = dict(
        rows(
            published,
            """
            select model_id, 100 * (value - 84.2) / 84.2 from fct_post_training_stages
            where category = 'score' and stage in ('dpo', 'rlvr') and model_id like '%Tulu%'
            """,
        )
    )
    assert all(-5 < change < -3 for change in found.values()), found


def test_regression_beats_bradley_terry_for_all_models_but_three(published: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        published,
        "select model_id from fct_objective_differences where category = 'score' and difference_points <= 0 order by 1",
    )
    assert [name for (name,) in found] == ["Falcon3-1B-Instruct", "Phi-3-small-8k-instruct", "Qwen2.5-0.5B-Instruct"]
    total = rows(published, "select count(*) from fct_objective_differences where category = 'score'")
    assert total == [(40,)]


def test_critical_r_at_forty_models_is_0_312_and_the_report_tells_of_0_316(
    published: duckdb.DuckDBPyConnection, home: Path
) -> None:
    """Section 4.1 prints 0.316 for n = 40, which is the value for n = 39."""
    found = rows(published, "select distinct round(critical_r, 3) from fct_benchmark_correlations where n = 40")
    assert found == [(0.312,)]
    page = (home / "reports" / "base_model_choice.html").read_text()
    assert "0.312" in page
    assert "0.316" in page


def test_score_is_the_mean_of_the_categories_within_rounding(published: duckdb.DuckDBPyConnection) -> None:
    worst = rows(
        published,
        "select max(abs(score - (chat + chat_hard + safety + reasoning) / 4)) from fct_reward_model_results",
    )[0][0]
    assert 0 < worst <= 0.06


def test_published_figures_are_those_of_the_tables(published: duckdb.DuckDBPyConnection) -> None:
    for objective, name in (("regression", "table_4_regression"), ("bradley_terry", "table_5_bradley_terry")):
        with open(SEEDS / f"{name}.csv", newline="") as file:
            expected = {
                row["model_id"]: tuple(float(row[c]) for c in ("chat", "chat_hard", "safety", "reasoning", "score"))
                for row in csv.DictReader(file)
            }
        found = {
            row[0]: row[1:]
            for row in rows(
                published,
                f"""
                select model_id, chat, chat_hard, safety, reasoning, score
                from fct_reward_model_results where objective = '{objective}'
                """,
            )
        }
        assert found == expected

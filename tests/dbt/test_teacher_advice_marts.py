"""Marts of advice on teachers, built by dbt from made responses: predictors, recommendations, regrets, partners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy import stats

from tests.support.advised_study import SKILLS, build, samples
from tests.support.response_parts import Sample
from warehouse.cli.recommend_for_policy import print_for_policy
from warehouse.paths import Home

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(made_once: Callable[..., Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(Home(made_once("teacher_advice", build)).warehouse), read_only=True) as connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, mart: str, **where: Any) -> list[dict[str, Any]]:
    conditions = " and ".join(f"{column} is not distinct from ${column}" for column in where) or "true"
    query = f"select * from marts.{mart} where {conditions} order by all"
    found: list[dict[str, Any]] = connection.execute(query, where).pl().to_dicts()
    return found


def best_of(sample: Sample, reward: str, n: int) -> float:
    """Gold gain of best of n by random draws, as a second computation, in standard deviations of the gold."""
    rng = np.random.default_rng(1)
    rewards, gold = (np.asarray(sample.rewards[name]) for name in (reward, "gold"))
    drawn = np.argsort(rng.random((3000, *gold.shape)), axis=2)[..., :n]
    prompts = np.arange(len(gold))[:, None]
    best = np.argmax(rewards[prompts, drawn], axis=2)
    picked = np.take_along_axis(drawn, best[..., None], axis=2)[..., 0]
    return float((gold[np.arange(len(gold)), picked].mean() - gold.mean()) / gold.std(ddof=1))


def test_own_rows_stand_beside_published_ones(made: duckdb.DuckDBPyConnection) -> None:
    (row,) = rows(
        made, "fct_teacher_predictors", basis="own", policy="llama-sft", predictor="on_policy_accuracy_half",
        target="best_of_n_gain",
    )  # fmt: skip
    assert (row["gold"], row["method"], row["n"], row["paper_tables"]) == ("gold", "best of n", 8, "none")
    assert row["spearman"] > 0.9 and row["spearman_low"] is not None and row["p_exact"] < 0.01
    sample = samples()["llama-sft"]
    gains = [best_of(sample, name, 8) for name in (*SKILLS, "base-6/s1")]
    gold = np.asarray(sample.rewards["gold"])
    accuracy = []
    for name in (*SKILLS, "base-6/s1"):
        pairs = zip(np.asarray(sample.rewards[name]), gold, strict=True)
        accuracy.append(np.mean([stats.kendalltau(one, other).statistic for one, other in pairs]))
    assert row["pearson"] == pytest.approx(np.corrcoef(gains, accuracy)[0, 1], abs=0.01)
    within = rows(made, "fct_teacher_predictors", basis="own", policy="within", target="best_of_n_gain")
    names = {one["predictor"] for one in within}
    assert {"reward_variance", "within_variance_raw", "off_policy_accuracy", "log10_params", "same_lineage"} <= names
    size = next(one for one in within if one["predictor"] == "log10_params")
    assert size["spearman"] is None and size["note"] == "no correlation: the predictor is the same everywhere"
    comparisons = rows(made, "fct_teacher_predictor_comparisons", target="best_of_n_gain", policy="within")
    assert {one["reference"] for one in comparisons} == {"on_policy_accuracy"}
    variance = next(one for one in comparisons if one["predictor"] == "reward_variance")
    assert variance["n"] == 8 and variance["low"] <= variance["difference"] <= variance["high"]


def test_a_measured_policy_is_answered_by_what_was_measured(made: duckdb.DuckDBPyConnection) -> None:
    (answer,) = rows(made, "fct_teacher_recommendations", policy_id="llama-sft", use="best_of_n", size_limit_b=None)
    assert (answer["base_model"], answer["evidence"], answer["measure"]) == ("base-6", "measured", "gold_gain")
    assert answer["n_compared"] == 7 and answer["is_same_family"] is False
    gains = [best_of(samples()["llama-sft"], name, 8) for name in ("base-6", "base-6/s1")]
    assert answer["expected"] == pytest.approx(np.mean(gains), abs=0.01)
    assert answer["low"] < answer["expected"] < answer["high"] and answer["probability_best"] > 0.5
    (filtering,) = rows(
        made, "fct_teacher_recommendations", policy_id="llama-sft", use="filter_data", size_limit_b=None
    )
    assert (filtering["measure"], filtering["base_model"]) == ("pair_accuracy", "base-6")
    (teaching,) = rows(made, "fct_teacher_recommendations", policy_id="llama-sft", use="rl", size_limit_b=None)
    assert (teaching["evidence"], teaching["measure"]) == ("best_of_n", "best_of_n_gain")


def test_gains_of_policy_runs_answer_for_reinforcement_learning(made: duckdb.DuckDBPyConnection) -> None:
    (answer,) = rows(made, "fct_teacher_recommendations", policy_id="llama-rl", use="rl", size_limit_b=None)
    assert (answer["base_model"], answer["evidence"], answer["measure"]) == ("base-5", "measured", "gold_gain")
    assert (answer["runner_up"], answer["n_compared"], answer["n_without"], answer["n_level"]) == ("base-6", 3, 4, 0)
    assert answer["expected"] == pytest.approx(0.925, abs=0.06) and answer["teaching_hours"] == 0.5
    assert answer["training_hours"] is None and answer["low"] < answer["expected"] < answer["high"]
    policies = {row["policy_id"] for row in rows(made, "fct_teacher_recommendations")}
    assert policies == {"llama-sft", "llama-rl", "qwen-sft", "falcon"}, "ends of policy runs are no policies to ask for"
    (row,) = rows(
        made, "fct_teacher_predictors", basis="own", policy="llama-rl", predictor="reward_variance", target="gold_gain"
    )
    assert (row["method"], row["n"]) == ("rloo", 3) and row["p_exact"] is None
    found = {one["best_evidence"]: one for one in rows(made, "fct_teacher_regrets", policy_id="llama-rl", use="rl")}
    assert found["best_of_n"]["picked"] == "base-6" and found["best_of_n"]["regret"] == pytest.approx(0.3, abs=0.05)


def test_a_policy_of_a_family_that_was_never_measured_is_an_abstention(made: duckdb.DuckDBPyConnection) -> None:
    found = rows(made, "fct_teacher_recommendations", policy_id="falcon")
    assert found and all(row["base_model"] is None and row["expected"] is None for row in found)
    assert {row["reason"] for row in found} == {
        "No recommendation: no reward model was measured on falcon or on another policy of the family Falcon."
    }


def test_regrets_are_what_hidden_evidence_costs(made: duckdb.DuckDBPyConnection) -> None:
    found = {
        row["best_evidence"]: row for row in rows(made, "fct_teacher_regrets", policy_id="llama-sft", use="best_of_n")
    }
    assert list(found) == ["base_benchmarks", "lineage", "nothing of the family", "on_policy_accuracy", "rewardbench"]
    accuracy, lineage = found["on_policy_accuracy"], found["lineage"]
    assert accuracy["picked"] == "base-6" and accuracy["regret"] == 0 < accuracy["regret_by_chance"]
    assert (lineage["picked"], lineage["regret"]) == ("base-6", 0)
    assert found["nothing of the family"]["picked"] is None
    alone = {
        row["best_evidence"]: row for row in rows(made, "fct_teacher_regrets", policy_id="qwen-sft", use="best_of_n")
    }
    assert alone["lineage"]["reason"].endswith("no reward model was measured on another policy of the family Qwen.")


def test_regrets_in_a_lab_are_truth_checks(made: duckdb.DuckDBPyConnection) -> None:
    found = rows(made, "fct_lab_truth_checks", check_name="teacher_regret", score_kind="best_of_n")
    by = {row["cell"]: row for row in found}
    regrets = rows(made, "fct_teacher_regrets", use="best_of_n", best_evidence="lineage")
    known = [row["regret"] for row in regrets if row["regret"] is not None]
    assert (by["lineage"]["value"], by["lineage"]["n"]) == (pytest.approx(np.mean(known)), len(known))
    assert by["on_policy_accuracy"]["value"] < by["on_policy_accuracy"]["baseline"]
    nothing = by["nothing of the family"]
    assert nothing["value"] is None and nothing["n"] == 0 and nothing["reason"].startswith("No recommendation: ")


def test_partners_are_measured_on_responses_too(made: duckdb.DuckDBPyConnection) -> None:
    (row,) = rows(
        made, "fct_ensemble_partners", kind="policy", measured_on="llama-sft", base_model="base-6", partner="base-5"
    )
    rewards = samples()["llama-sft"].rewards
    first, second = np.triu_indices(16, 1)
    wrong = {
        name: np.sign(values[:, first] - values[:, second])
        != np.sign(rewards["gold"][:, first] - rewards["gold"][:, second])
        for name, values in rewards.items()
    }
    both = np.mean([np.mean(wrong[name] & wrong["base-5"]) for name in ("base-6", "base-6/s1")])
    assert row["both_wrong"] == pytest.approx(both) and row["gold_id"] == "gold"
    assert row["both_wrong_of_seeds"] == pytest.approx(np.mean(wrong["base-6"] & wrong["base-6/s1"]))
    places = rows(made, "fct_ensemble_partners", kind="policy", measured_on="llama-sft", base_model="base-6")
    assert row["status"] == "ok" and len(places) == 6
    assert row["both_wrong"] >= next(one for one in places if one["place"] == 1)["both_wrong"]


def test_the_recommendation_of_a_made_warehouse_is_printed(made: duckdb.DuckDBPyConnection) -> None:
    from rich.console import Console

    console = Console(width=100, no_color=True, force_terminal=False)
    with console.capture() as capture:
        print_for_policy(
            made, console, policy="llama-sft", use="best_of_n", max_params=None, objective=None, study_id=None
        )
    text = " ".join(capture.get().split())
    assert "the reward model for llama-sft be trained on? Yours Best of n, Regression" in text
    assert "base-6: gold gain" in text and "By measurement on the policy" in text

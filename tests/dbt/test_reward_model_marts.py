"""From item rewards in parts to the marts: against NumPy, SciPy and sums by hand, beside the published study."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy import stats

from warehouse import checks
from warehouse.paths import Home

SEEDS = Path(__file__).resolve().parents[2] / "dbt" / "seeds"
MODELS = ("alpha", "beta", "gamma", "delta", "echo")
CATEGORIES = ("chat", "chat_hard", "safety", "reasoning")

Rewards = dict[tuple[str, str], pl.DataFrame]
"""By model and objective: subset, item_id, chosen, rejected; NaN where a completion has no reward."""


def subsets() -> list[dict[str, Any]]:
    with open(SEEDS / "rewardbench_subsets.csv", newline="") as file:
        return [
            {"category": row["category"], "subset": row["subset"], "n": int(row["n_examples"]), "w": int(row["weight"])}
            for row in csv.DictReader(file)
        ]


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    return connection.execute(query).pl().to_dicts()


def counted(rewards: Rewards) -> Rewards:
    """The pairs that count: by Bradley-Terry those that alpha, beta and gamma all have rewards for."""
    failed = rewards["gamma", "bradley_terry"].filter(pl.col("chosen").is_nan() | pl.col("rejected").is_nan())
    return {
        key: frame if key[1] == "regression" else frame.join(failed, on=["subset", "item_id"], how="anti")
        for key, frame in rewards.items()
    }


def by_hand(frame: pl.DataFrame) -> dict[str, Any]:
    """Categories, score and errors of one reward model, from its pairs alone (definitions, Section 1)."""
    accuracies: dict[str, float] = {}
    variances: dict[str, float] = {}
    wins, counts = dict.fromkeys(CATEGORIES, 0), dict.fromkeys(CATEGORIES, 0)
    for category in CATEGORIES:
        found = []
        for row in subsets():
            part = frame.filter(subset=row["subset"])
            chosen, rejected = part["chosen"].to_numpy(), part["rejected"].to_numpy()
            usable = np.isfinite(chosen) & np.isfinite(rejected)
            if row["category"] == category and usable.any():
                won = (chosen > rejected)[usable].astype(float)
                found.append((row["w"], won.mean(), won.var(ddof=1) / len(won)))
                wins[category] += int(won.sum())
                counts[category] += len(won)
        if found:
            weights, means, squares = map(np.array, zip(*found, strict=True))
            accuracies[category] = 100 * float(np.average(means, weights=weights))
            variances[category] = 1e4 * float(((weights / weights.sum()) ** 2 * squares).sum())
    whole = len(accuracies) == len(CATEGORIES)
    return {
        **{category: accuracies.get(category) for category in CATEGORIES},
        "score": float(np.mean(list(accuracies.values()))) if whole else None,
        "score_standard_error": float(np.sqrt(sum(variances.values()))) / 4 if whole else None,
        "reasoning_unweighted": 100 * wins["reasoning"] / counts["reasoning"],
        "n_pairs": sum(counts.values()),
    }


def test_results_equal_a_second_computation(warehouse: duckdb.DuckDBPyConnection, rewards: Rewards) -> None:
    found = rows(warehouse, "select * from marts.fct_reward_model_results where study_id = 'yours'")
    assert {(row["model_id"], row["objective"]) for row in found} == set(rewards)
    for row in found:
        expected = by_hand(counted(rewards)[row["model_id"], row["objective"]])
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, abs=1e-9), (row["model_id"], row["objective"], name)
        assert row["source"] == f"{row['model_id']}-{row['objective']}"
        assert row["basis"] == "item_results"


def test_what_is_missing_is_said(warehouse: duckdb.DuckDBPyConnection) -> None:
    found = {
        (row["model_id"], row["objective"]): (row["status"], row["status_reason"], row["is_comparable"])
        for row in rows(warehouse, "select * from marts.fct_reward_model_results where study_id = 'yours'")
    }
    assert found["alpha", "bradley_terry"] == found["beta", "bradley_terry"] == ("complete", None, True)
    failed = "pairs without a reward: 3 (donotanswer 1, hep-go 1, hep-rust 1)"
    assert found["gamma", "bradley_terry"] == ("incomplete", failed, True)
    part = "no pairs of chat, safety; not all pairs of mt-bench-hard 0 of 37"
    assert found["delta", "regression"] == ("incomplete", part, False)


def test_subsets_are_counted(warehouse: duckdb.DuckDBPyConnection, rewards: Rewards) -> None:
    found = rows(warehouse, "select * from marts.fct_reward_model_subsets")
    assert len(found) == 23 * len(rewards)
    n_ties = 0
    for row in found:
        whole = rewards[row["model_id"], row["objective"]].filter(subset=row["subset"])
        part = counted(rewards)[row["model_id"], row["objective"]].filter(subset=row["subset"])
        errors = whole["chosen"].is_nan().sum()
        won = part.filter(pl.col("chosen").is_not_nan() & (pl.col("chosen") > pl.col("rejected"))).height
        ties = part.filter(pl.col("chosen") == pl.col("rejected")).height
        assert (row["n_pairs"], row["n_won"], row["n_ties"], row["n_errors"]) == (whole.height, won, ties, errors)
        assert row["n_left_out"] == whole.height - part.height - errors
        assert row["accuracy"] == (pytest.approx(100 * won / part.height) if part.height else None)
        n_ties += ties
    assert n_ties > 100


def test_published_results_are_beside_them_untouched(warehouse: duckdb.DuckDBPyConnection) -> None:
    counts = rows(
        warehouse,
        """
        select objective, count(*) as n, bool_and(is_comparable) as whole, min(n_pairs) as n_pairs,
            count(status_reason) as reasons, count(score_standard_error) as errors
        from marts.fct_reward_model_results where study_id = 'published' group by all
        """,
    )
    assert len(counts) == 2
    for row in counts:
        assert (row["n"], row["whole"], row["n_pairs"], row["reasons"], row["errors"]) == (40, True, 2985, 0, 0)


def test_only_models_judged_on_the_same_pairs_are_compared(warehouse: duckdb.DuckDBPyConnection) -> None:
    """delta has half of a test set; echo, the default of gamma, was not trained."""
    gains = rows(warehouse, "select * from marts.fct_size_group_gains where study_id = 'yours'")
    assert {(row["objective"], row["model_id"]) for row in gains} == {
        ("bradley_terry", "alpha"), ("bradley_terry", "beta"), ("regression", "alpha"),
    }  # fmt: skip
    for mart in ("fct_benchmark_correlations", "fct_benchmark_coverage", "fct_post_training_stages"):
        used = rows(warehouse, f"select * from marts.{mart} where study_id = 'yours'")
        assert all(row.get("n", 0) <= 3 for row in used), mart
    differences = rows(warehouse, "select * from marts.fct_objective_differences where study_id = 'yours'")
    assert {row["model_id"] for row in differences} == {"alpha"} and len(differences) == 5
    features = rows(warehouse, "select * from marts.fct_regression_features where study_id = 'yours'")
    assert {row["model_id"] for row in features} == set(MODELS)


def test_models_that_are_not_trained_yet_block_nothing_but_a_published_row_that_is_missing_does(
    partly_trained: Home, warehouse: duckdb.DuckDBPyConnection
) -> None:
    assert checks.incomplete_result_tables(warehouse) == []
    assert checks.scores_off_the_mean(warehouse) == []
    with duckdb.connect() as memory:
        memory.execute(f"attach '{partly_trained.warehouse}' as w (read_only); create schema marts")
        for mart in ("fct_reward_model_results", "dim_base_models"):
            memory.execute(f"create table marts.{mart} as select * from w.marts.{mart}")
        memory.execute(
            "delete from marts.fct_reward_model_results "
            "where study_id = 'published' and model_id = 'gemma-2-2b-it' and objective = 'regression'"
        )
        (problem,) = checks.incomplete_result_tables(memory)
        assert "published, regression: 39 of 40" in problem and "gemma-2-2b-it" in problem
        memory.execute(
            "insert into marts.fct_reward_model_results from w.marts.fct_reward_model_results "
            "where study_id = 'published' and model_id = 'gemma-2-2b-it' and objective = 'regression'"
        )
        memory.execute(
            "insert into marts.fct_reward_model_results from w.marts.fct_reward_model_results "
            "where study_id = 'yours' and model_id = 'beta'"
        )
        (problem,) = checks.incomplete_result_tables(memory)
        assert "yours, bradley_terry" in problem and problem.endswith("not so: beta")


def test_paired_comparisons_equal_a_bootstrap_of_items(warehouse: duckdb.DuckDBPyConnection, rewards: Rewards) -> None:
    """beta against the default alpha, which is also the only pair of a best model and its runner-up."""
    found = rows(warehouse, "select * from marts.fct_reward_model_comparisons")
    assert len(found) == 10 and {row["compared_with"] for row in found} == {"default", "runner-up"}
    turned = {row["category"]: row for row in found if row["compared_with"] == "runner-up"}
    found = [row for row in found if row["compared_with"] == "default"]
    assert {(row["model_id"], row["other_model_id"]) for row in found} == {("beta", "alpha")}
    names = ["subset", "item_id"]
    pairs = counted(rewards)
    both = pairs["beta", "bradley_terry"].join(pairs["alpha", "bradley_terry"], on=names, suffix="_default")
    info = {row["subset"]: row for row in subsets()}
    model = (both["chosen"] > both["rejected"]).to_numpy()
    default = (both["chosen_default"] > both["rejected_default"]).to_numpy()
    category = np.array([info[name]["category"] for name in both["subset"]])
    rng = np.random.default_rng(1)
    draws: dict[str, list[float]] = defaultdict(list)
    places = {name: np.flatnonzero((both["subset"] == name).to_numpy()) for name in info}
    difference = model.astype(float) - default
    for _ in range(1000):
        values = {name: difference[rng.choice(index, len(index))].mean() for name, index in places.items()}
        for one in CATEGORIES:
            mine = [name for name, row in info.items() if row["category"] == one]
            draws[one].append(np.average([values[name] for name in mine], weights=[info[name]["w"] for name in mine]))
        draws["score"].append(float(np.mean([draws[one][-1] for one in CATEGORIES])))
    query = "select * from marts.fct_reward_model_results where objective = 'bradley_terry' and study_id = 'yours'"
    results = {row["model_id"]: row for row in rows(warehouse, query)}
    for row in found:
        chosen = np.ones(len(model), bool) if row["category"] == "score" else category == row["category"]
        only_model, only_other = int((model & ~default & chosen).sum()), int((~model & default & chosen).sum())
        assert (row["n_only_model"], row["n_only_other"]) == (only_model, only_other)
        assert row["n_both"] == (model & default & chosen).sum() and row["n_pairs"] == chosen.sum()
        assert row["n_neither"] == (~model & ~default & chosen).sum()
        gap = results["beta"][row["category"]] - results["alpha"][row["category"]]
        assert row["difference_points"] == pytest.approx(gap, abs=1e-8)
        error = 100 * float(np.std(draws[row["category"]]))
        assert row["standard_error"] == pytest.approx(error, rel=0.1)
        assert row["sign_flip_p"] == pytest.approx(2 * stats.norm.sf(abs(gap) / error), abs=0.06)
        sign = 1 if results["beta"]["score"] > results["alpha"]["score"] else -1
        assert turned[row["category"]]["difference_points"] == pytest.approx(sign * gap, abs=1e-8)
        assert turned[row["category"]]["standard_error"] == pytest.approx(row["standard_error"])


def test_gains_and_leads_are_paired_where_there_are_items_and_carry_training_runs(
    warehouse: duckdb.DuckDBPyConnection,
) -> None:
    paired = rows(
        warehouse, "select * from marts.fct_reward_model_comparisons where category = 'score' order by compared_with"
    )
    of_beta = "study_id = 'yours' and objective = 'bradley_terry' and not is_default"
    (gain,) = rows(warehouse, f"select * from marts.fct_size_group_gains where {of_beta}")
    assert gain["is_paired"] and gain["gain_standard_error"] == paired[0]["standard_error"]
    assert gain["gain_low"] == paired[0]["low"] and gain["gain_low_with_runs"] == paired[0]["low_with_runs"]
    assert gain["gain_error_with_runs"] ** 2 == pytest.approx(gain["gain_standard_error"] ** 2 + 2 * 1.39**2)
    separate = rows(
        warehouse,
        """
        select sqrt(sum(score_standard_error ** 2)) as error from marts.fct_reward_model_results
        where study_id = 'yours' and objective = 'bradley_terry' and model_id in ('alpha', 'beta')
        """,
    )[0]["error"]
    assert gain["gain_standard_error"] < separate, "the same pairs: errors that both make cancel"
    (lead,) = rows(
        warehouse,
        "select * from marts.fct_size_group_winners where study_id = 'yours' and objective = 'bradley_terry'",
    )
    assert lead["is_gap_paired"] and lead["gap_error"] == paired[1]["standard_error"]
    (difference,) = rows(
        warehouse, "select * from marts.fct_objective_differences where study_id = 'yours' and category = 'score'"
    )
    assert difference["is_paired"]
    noise = 0.74**2 + 1.39**2
    assert difference["error_with_runs"] ** 2 == pytest.approx(difference["standard_error"] ** 2 + noise)

"""Tables over items: rewards that are missing, alone, or share nothing; family preference by plain loops."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

from models_train.selection.item_arrays import Scored, scored_benchmarks
from models_train.selection.item_tables import (
    family_preferences,
    reward_variances,
    score_comparisons,
    shared_errors,
    subset_scores,
)

FAMILIES = ("llama", "gemma", "qwen")


def made(rewards: dict[str, np.ndarray], benchmark: str = "rewardmath", n_correct: int = 1) -> Scored:
    """A benchmark with rewards (items, completions), by way of the tables that dbt's models read."""
    n, width = next(iter(rewards.values())).shape
    item, column = (index.ravel() for index in np.indices((n, width)))
    completions = pl.DataFrame({"item_no": item, "completion_no": column}).with_columns(
        pl.lit("s").alias("study_id"),
        pl.lit(benchmark).alias("benchmark"),
        pl.lit("all of it").alias("subset"),
        pl.Series("item_id", item.astype(str)),
        pl.Series("is_correct", column < n_correct),
        pl.Series("generator_family", [FAMILIES[place % 3] for place in column]),
    )
    arrays = pl.DataFrame({"reward_id": list(rewards), "rewards": [one.tobytes() for one in rewards.values()]})
    own = [pl.lit("s").alias("study_id"), pl.lit(benchmark).alias("benchmark")]
    (found,) = scored_benchmarks(completions.sample(fraction=1, shuffle=True, seed=1), arrays.with_columns(*own))
    return found


def sources(**families: str | None) -> pl.DataFrame:
    rows = [("s", name, family, family, None) for name, family in families.items()]
    columns = ["study_id", "reward_id", "family", "base_model", "data_id"]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


SUBSETS = pl.DataFrame(
    {"study_id": ["s"], "benchmark": ["rewardmath"], "subset": ["all of it"], "part": ["all"], "weight": [None]},
    schema_overrides={"weight": pl.Float64},
)


@pytest.fixture
def rewards() -> dict[str, np.ndarray]:
    """Five rewards on 40 items of 1 right and 5 wrong: `d` lacks half of the items, `e` has none."""
    rng = np.random.default_rng(5)
    found = {name: np.round(rng.normal(size=(40, 6)), 1) for name in "abcde"}
    found["d"][20:, 2] = np.nan
    found["e"][:] = np.nan
    return found


def test_a_reward_without_any_usable_one_has_rows_without_a_value(rewards: dict[str, np.ndarray]) -> None:
    scores = subset_scores(made(rewards)).filter(reward_id="e", metric="accuracy").to_dicts()
    assert [(row["n"], row["n_errors"], row["mean"], row["variance"]) for row in scores] == [(0, 40, None, None)]
    half = subset_scores(made(rewards)).filter(reward_id="d", metric="accuracy").to_dicts()
    assert [(row["n"], row["n_errors"]) for row in half] == [(20, 20)]
    variances = reward_variances(made(rewards), 20).filter(reward_id="e").to_dicts()
    assert {(row["n"], row["value"], row["low"], row["reason"]) for row in variances} == {
        (0, None, None, "fewer than 8 items")
    }


def test_it_keeps_others_from_nothing(rewards: dict[str, np.ndarray]) -> None:
    compared = score_comparisons(made(rewards), SUBSETS, 50).filter(pl.col("subset").is_null())
    assert {(row["reward_a"], row["reward_b"]): row["n"] for row in compared.to_dicts()} == {
        ("a", "b"): 40, ("a", "c"): 40, ("b", "c"): 40, ("a", "d"): 20, ("b", "d"): 20, ("c", "d"): 20,
    }  # fmt: skip
    table = shared_errors(made(rewards), sources(a="x", b="x", c="y", d=None, e=None), 50)
    whole = table.filter(kind="class", base="all").to_dicts()[0]
    assert (whole["n_rewards"], whole["n_reward_pairs"], whole["n_items"], whole["n_pairs"]) == (4, 6, 40, 100)
    assert whole["reason"] is None and whole["low"] < whole["phi"] < whole["high"]
    kinds = {row["base"]: row["n_reward_pairs"] for row in table.filter(kind="class").to_dicts()}
    assert kinds == {"all": 6, "same": 1, "different": 2, "unknown": 3}


def test_one_reward_has_nothing_to_be_compared_with(rewards: dict[str, np.ndarray]) -> None:
    alone = made({"a": rewards["a"]})
    assert score_comparisons(alone, SUBSETS, 50).height == shared_errors(alone, sources(a="x"), 50).height == 0
    assert family_preferences(alone, sources(a="llama"), 50).height == 0


def test_rewards_of_different_items_are_not_compared(rewards: dict[str, np.ndarray]) -> None:
    first, second = rewards["a"].copy(), rewards["b"].copy()
    first[:20], second[20:] = np.nan, np.nan
    apart = made({"a": first, "b": second})
    assert score_comparisons(apart, SUBSETS, 50).height == 0
    (whole, *_) = shared_errors(apart, sources(a="x", b="x"), 50).to_dicts()
    assert (whole["kind"], whole["phi"], whole["n_items"], whole["both_wrong"]) == ("class", None, 0, None)


def test_family_preference_is_the_mean_difference_of_ranks(rewards: dict[str, np.ndarray]) -> None:
    own = {name: rewards[name] for name in "abcd"}
    found = family_preferences(made(own), sources(a="llama", b="llama", c="gemma", d="qwen"), 200)
    ranks = {name: rankdata(-one[:, 1:], axis=1) for name, one in own.items()}
    ranks["d"][20:] = np.nan
    generators = np.array([FAMILIES[place % 3] for place in range(1, 6)])
    for row in found.to_dicts():
        is_own = [name for name, family in zip("abcd", ("llama", "llama", "gemma", "qwen"), strict=True)
                  if family == row["reward_family"]]  # fmt: skip
        differences = []
        for item in range(40):
            mine = np.nanmean([ranks[name][item] for name in is_own], axis=0) if item < 20 or is_own != ["d"] else None
            if mine is None:
                continue
            others = np.nanmean([ranks[name][item] for name in "abcd" if name not in is_own], axis=0)
            differences.append((others - mine)[generators == row["generator_family"]].mean())
        assert row["preference"] == pytest.approx(np.mean(differences), abs=1e-12)
        assert (row["n_items"], row["reason"]) == (len(differences), None) and row["low"] < row["high"]
    assert found.height == 9


def test_ids_of_ties_without_their_other_prompt_are_no_units() -> None:
    both = {"a": np.random.default_rng(1).normal(size=(4, 4)), "b": np.zeros((4, 4))}
    subsets = SUBSETS.with_columns(benchmark=pl.lit("rewardbench2"), subset=pl.lit("Ties"))
    benchmark = made(both, "rewardbench2")
    benchmark.items.subsets[:] = "Ties"
    benchmark.items.ids[:] = ["ref:1", "ref:2", "ref:3", "tied:4"]
    assert subset_scores(benchmark).height == 0
    assert score_comparisons(benchmark, subsets, 50).height == 0

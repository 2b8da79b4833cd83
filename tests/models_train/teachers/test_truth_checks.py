"""Best of n held against the truth of a lab: by enumeration of all draws, and worked cases of lineage."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models_train.teachers.best_of_n import kl_bound
from models_train.teachers.truth_checks import DRAWS, drawn_golds, largest_size, measured_kl, truth_checks

SHAPE = (40, 16)
Rewards = dict[str, dict[str, np.ndarray]]


@pytest.mark.parametrize("rewards", [[3.0, 1, 2, 0], [1.0, 1, 1, 1], [2.0, 2, 0, 1], [0.0, 0, 0, 5]])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_distance_is_that_of_all_draws(rewards: list[float], n: int) -> None:
    chances = np.zeros(len(rewards))
    for drawn in product(range(len(rewards)), repeat=n):
        best = [place for place in drawn if rewards[place] == max(rewards[one] for one in drawn)]
        for place in best:
            chances[place] += 1 / len(best) / len(rewards) ** n
    expected = stats.entropy(chances, np.full(len(rewards), 1 / len(rewards)))
    assert measured_kl(np.array(rewards), n) == pytest.approx(expected, abs=1e-12)


def test_the_bound_holds_for_any_rewards() -> None:
    rewards = np.random.default_rng(0).integers(0, 6, size=(200, 16)).astype(float)
    for n in (2, 4, 8, 16):
        assert measured_kl(rewards, n).max() <= kl_bound(n) + 1e-12


def test_draws_have_the_mean_of_all_subsets() -> None:
    dice = np.random.default_rng(1)
    rewards, gold = dice.integers(0, 3, size=(5, 6)).astype(float), dice.normal(size=(5, 6))
    subsets = list(combinations(range(6), 3))
    means = [
        np.mean([gold[row][[one for one in drawn if rewards[row][one] == rewards[row][list(drawn)].max()]].mean()
                 for drawn in subsets])
        for row in range(5)
    ]  # fmt: skip
    drawn = np.concatenate([drawn_golds(rewards, gold, 3, np.random.default_rng(seed)) for seed in range(40)])
    error = drawn.std() / np.sqrt(len(drawn))
    assert len(drawn) == 40 * DRAWS and abs(drawn.mean() - np.mean(means)) < 4 * error


def frames(rewards: Rewards, families: dict[str, str]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What `truth_checks` reads of a study. rewards: by policy and reward_id; families: of reward models, policies."""
    prompt, column = (place.ravel() for place in np.indices(SHAPE))
    cells, arrays, lineages = [], [], []
    for policy, by_reward in rewards.items():
        key = {"study_id": "lab", "policy_id": policy, "prompt_set": "prompts"}
        cells.append(
            pl.DataFrame({"prompt_no": prompt, "column_no": column, "n_bytes": 1}).with_columns(
                pl.lit(value).alias(name) for name, value in key.items()
            )
        )
        for reward_id, own in by_reward.items():
            arrays.append(key | {"reward_id": reward_id, "rewards": own.tobytes()})
            if reward_id != "gold":
                lineages.append(
                    {
                        "study_id": "lab", "gold_id": "gold", "policy_id": policy, "reward_id": reward_id,
                        "family": families[reward_id], "policy_family": families[policy],
                    }
                )  # fmt: skip
    golds = pl.DataFrame(
        {"study_id": "lab", "gold_id": "gold", "excluded": None}, schema_overrides={"excluded": pl.String}
    )
    return pl.concat(cells), pl.DataFrame(arrays), golds, pl.DataFrame(lineages)


FAMILIES = {"one": "a", "two": "b", "of_a": "a", "of_b": "b"}


def by_lineage(own: float, other: float, policy_bonus: float) -> Rewards:
    """Reward models that see the truth, at these strengths, on policies of the own and the other family."""
    dice, found = np.random.default_rng(2), Rewards()
    for policy, bonus in (("one", 0.0), ("two", policy_bonus)):
        gold = dice.normal(size=SHAPE)
        strength = {name: bonus + (own if FAMILIES[name] == FAMILIES[policy] else other) for name in ("of_a", "of_b")}
        found[policy] = {"gold": gold} | {
            name: value * gold + dice.normal(size=SHAPE) for name, value in strength.items()
        }
    return found


def test_lineage_is_what_is_left_of_reward_models_and_policies() -> None:
    rows = truth_checks(*frames(by_lineage(2.0, 0.5, 0.0), FAMILIES), 200).filter(check_name="lineage")
    grid = dict(rows.drop_nulls("cell").select("cell", "value").iter_rows())
    assert set(grid) == {"a on a", "a on b", "b on a", "b on b"}
    (contrast,) = rows.filter(pl.col("cell").is_null()).to_dicts()
    worked = (grid["a on a"] + grid["b on b"] - grid["a on b"] - grid["b on a"]) / 2
    assert contrast["statistic"] == "own_lineage_gain" and contrast["value"] == pytest.approx(worked)
    assert 0 < contrast["low"] < contrast["value"] < contrast["high"] and contrast["n"] == 2
    (nothing,) = (
        truth_checks(*frames(by_lineage(1.0, 1.0, 1.0), FAMILIES), 200)
        .filter(pl.col("statistic") == "own_lineage_gain")
        .to_dicts()
    )
    assert nothing["low"] < 0 < nothing["high"]


def test_every_reward_has_its_estimate_beside_the_draws() -> None:
    rows = truth_checks(*frames(by_lineage(1.0, 0.3, 0.0), FAMILIES), 200)
    draws = rows.filter(check_name="best_of_n_draws")
    assert draws.height == 6 and set(draws["score_kind"]) == {"best of 8"} and largest_size(16) == 8
    inside = (draws["low"] <= draws["value"]) & (draws["value"] <= draws["high"])
    assert inside.sum() >= 5
    distances = rows.filter(check_name="best_of_n_distance")
    assert set(distances["score_kind"]) == {f"best of {n}" for n in (2, 4, 8, 16)}
    assert (distances["value"] <= distances["baseline"]).all()


def test_one_family_of_reward_models_is_no_contrast() -> None:
    made = by_lineage(1.0, 1.0, 0.0)
    alone = {policy: {name: own[name] for name in ("gold", "of_a")} for policy, own in made.items()}
    assert truth_checks(*frames(alone, FAMILIES), 200).filter(check_name="lineage").is_empty()

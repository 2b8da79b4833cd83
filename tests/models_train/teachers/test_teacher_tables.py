"""Rows of the marts from odd inputs: missing, infinite and flat rewards, mute gold, pools of unequal size."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from models_train.teachers import tables
from models_train.teachers.arrays import Compared, Pool
from models_train.teachers.tables import Settings

SETTINGS = Settings({}, {}, {})


def pool(*rewards: NDArray[np.float64], is_there: NDArray[np.bool_] | None = None) -> Pool:
    """Rewards `gold`, `r1`, `r2`, …"""
    values = np.array(rewards)
    there = np.ones(values.shape[1:], bool) if is_there is None else is_there
    names = ["gold", *(f"r{place}" for place in range(1, len(values)))]
    return Pool("s", "p", "prompts", names, np.where(there, values, np.nan), there, np.ones(there.shape))


def drawn(seed: int, n_rewards: int = 2, n_prompts: int = 12, n_responses: int = 8) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n_rewards, n_prompts, n_responses))


def every_table(one: Compared, resamples: int = 50) -> dict[str, list[dict[str, Any]]]:
    settings = Settings({}, {"s": [{"over": "seeds", "members": ["r1", "r2", "absent"]}]}, {})
    return {
        "properties": tables.teacher_properties(one, resamples),
        "best_of_n": tables.best_of_n(one, resamples, settings),
        "overoptimisation": tables.overoptimisation(one, resamples),
        "ensembles": tables.ensemble_rows(one, resamples, settings),
        "uncertainty": tables.reward_uncertainty(one, resamples, settings),
    }


def test_an_infinite_reward_is_none() -> None:
    values = drawn(0)
    values[1, 0, 0] = np.inf
    one = pool(*values).compared("gold", None)
    assert one.n_prompts == 11 and one.n_prompts_left_out == 1 and np.isfinite(one.rewards).all()


def test_a_gold_that_says_nothing_has_statuses_in_place_of_figures() -> None:
    values = drawn(1, n_rewards=3)
    values[0] = 1.0
    found = every_table(pool(*values).compared("gold", None))
    (row,) = [row for row in found["properties"] if row["reward_id"] == "r1"]
    assert row["status"] == tables.NO_GOLD and np.isnan(row["on_policy_accuracy_strict"])
    assert {row["status"] for row in found["uncertainty"]} == {tables.NO_GOLD}
    chosen = [row for row in found["best_of_n"] if row["reward_id"] == "r1" and row["n"] == 8]
    assert chosen[0]["gold_gain"] == pytest.approx(0) and np.isnan(chosen[0]["headroom_share"])
    assert {row["status"] for row in found["overoptimisation"] if row["reward_id"] == "r1"} == {"flat"}
    assert {row["status"] for row in found["ensembles"]} == {"1 of 3 members have no rewards here"}


def test_a_gold_that_was_never_given_has_no_prompts_to_compare_on() -> None:
    values = drawn(2)
    values[0] = np.nan
    found = every_table(pool(*values).compared("gold", None))
    assert {row["status"] for row in found["properties"]} == {"no prompt has the gold reward of all of its responses"}
    assert not [row for row in found["best_of_n"] if row["n_prompts"]]


def test_errors_that_leave_no_whole_prompt_are_said() -> None:
    values = drawn(3, n_rewards=12, n_prompts=11)
    for place in range(11):
        values[place + 1, place, 0] = np.nan
    one = pool(*values).compared("gold", None)
    assert one.n_prompts == 0 and set(one.left_out.values()) == {"no prompt has all rewards"}
    assert {row["n_prompts_left_out"] for row in tables.teacher_properties(one, 10)} == {11}


def test_prompts_of_few_responses_do_not_make_the_curve() -> None:
    values = drawn(4, n_prompts=20)
    is_there = np.ones((20, 8), bool)
    is_there[0, 3:] = False
    one = pool(*values, is_there=is_there).compared("gold", None)
    assert one.n_prompts == 20 and one.n_pool == 8
    rows = [row for row in tables.best_of_n(one, 50, SETTINGS) if row["reward_id"] == "r1"]
    assert [row["n"] for row in rows] == [1, 2, 4, 8]
    assert {(row["n_prompts"], row["n_prompts_left_out"]) for row in rows} == {(19, 1)}
    assert not any(np.isnan(row["gold"]) for row in rows)
    (fit,) = [row for row in tables.overoptimisation(one, 50) if row["reward_id"] == "r1"]
    assert fit["n_points"] == 7 and fit["n_prompts"] == 19


def test_a_reward_far_from_zero_has_the_figures_of_its_differences() -> None:
    values = drawn(5)
    near, far = pool(*values), pool(values[0], values[1] + 1e6)
    for name in ("properties", "best_of_n"):
        one, other = (every_table(made.compared("gold", None))[name] for made in (near, far))
        for row, again in zip(one, other, strict=True):
            for column in ("reward_variance", "gold", "gold_gain", "on_policy_accuracy"):
                if column in row:
                    assert again[column] == pytest.approx(row[column], rel=1e-8)


def test_order_of_prompts_and_responses_changes_no_digit() -> None:
    values = np.round(drawn(6, n_rewards=4, n_prompts=30), 1)
    rng = np.random.default_rng(7)
    moved = values[:, rng.permutation(30)][:, :, rng.permutation(8)]
    one, other = (every_table(pool(*made).compared("gold", None), 0) for made in (values, moved))
    for name, rows in one.items():
        for row, again in zip(rows, other[name], strict=True):
            for column, value in row.items():
                if isinstance(value, float):
                    # Coefficients of a fit, and counts of prompts drawn into halves, are as near as their arithmetic.
                    least = 1e-9 if name == "overoptimisation" else 1e-12
                    if not column.startswith("difference_to_best"):
                        assert again[column] == pytest.approx(value, abs=least, nan_ok=True), (name, column)


def test_two_golds_and_an_excluded_reward_model() -> None:
    one = pool(*drawn(8, n_rewards=3)).compared("r1", "r2")
    assert one.reward_ids == ["gold", "r1"] and one.left_out == {"r2": "it is the gold reward itself"}


def test_settings_are_read_from_their_rows() -> None:
    rows = [("s", "best_of", json.dumps([1, 3])), ("t", "ensembles", json.dumps([{"over": "seeds"}]))]
    settings = Settings.of(pl.DataFrame(rows, schema=["study_id", "setting", "value"], orient="row"))
    one = pool(*drawn(9)).compared("gold", None)
    assert settings.sizes(one) == [1, 3] and settings.ensembles(one) == []
    assert {row["n"] for row in tables.best_of_n(one, 0, settings)} == {1, 3, 8}

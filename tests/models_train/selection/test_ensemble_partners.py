"""Partners of a base model in an ensemble of two: joint errors by hand, places, what costs more, what is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from models_train.selection.ensemble_partners import NO_SEED, PARTNERS, Errors, partners

REWARDS = ("a/s0", "a/s1", "b/s0", "c/s0", "d/s0")


def sources(**changed: dict[str, Any]) -> pl.DataFrame:
    """One row per reward: base models a (two seeds), b, c and d, which is three times as large."""
    rows = [
        {"study_id": "s", "reward_id": name, "base_model": name[0], "objective": "bradley_terry", "data_id": "x"}
        | {"params_b": 3.0 if name[0] == "d" else 1.0}
        | changed.get(name, {})
        for name in REWARDS
    ]
    return pl.DataFrame(rows)


def errors(wrong: np.ndarray, n_pairs: np.ndarray | None = None, resamples: int = 400) -> Errors:
    """wrong: (rewards, items, pairs)."""
    _, n_items, pairs = wrong.shape
    if n_pairs is None:
        n_pairs = np.full((n_items, len(wrong)), float(pairs))
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n_items, np.full(n_items, 1 / n_items), size=resamples)
    counts = np.concatenate([np.ones((1, n_items)), drawn]).astype(np.float32)
    return Errors("s", "bench", list(REWARDS), wrong.astype(bool), n_pairs, counts)


def drawn(n_items: int = 300) -> np.ndarray:
    """Seeds of a share most errors; b has some of a's, c and d have errors of their own."""
    rng = np.random.default_rng(4)
    a = rng.random((n_items, 2)) < 0.3
    flips = [rng.random((n_items, 2)) < share for share in (0.05, 0.2, 0.3, 0.3)]
    other = rng.random((n_items, 2)) < 0.3
    return np.stack([a, a ^ flips[0], a ^ flips[1], other, other ^ flips[3]])


def test_joint_errors_are_those_counted_by_hand() -> None:
    wrong = drawn()
    found = partners(errors(wrong), sources())
    assert list(found.columns) == list(PARTNERS) and found.height == 4 * 3
    row = found.filter(base_model="a", partner="b").row(0, named=True)
    both = [np.mean(wrong[one] & wrong[2]) for one in (0, 1)]
    seeds = np.mean(wrong[0] & wrong[1])
    assert row["both_wrong"] == pytest.approx(np.mean(both)) and row["both_wrong_of_seeds"] == pytest.approx(seeds)
    assert row["difference"] == pytest.approx(np.mean(both) - seeds)
    assert row["error"] == pytest.approx(wrong[:2].mean()) and row["partner_error"] == pytest.approx(wrong[2].mean())
    assert (row["n_seeds"], row["n_partner_seeds"], row["n_items"], row["n_pairs"]) == (2, 1, 300, 600)
    assert row["low"] < row["both_wrong"] < row["high"] and row["reason"] is None
    per_item = wrong[:2, :, :].all(axis=0).mean(axis=1) - np.mean(
        [wrong[one] & wrong[2] for one in (0, 1)], axis=(0, 2)
    )
    reach = 1.96 * per_item.std(ddof=1) / np.sqrt(300)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(
        (row["difference"] - reach, row["difference"] + reach), abs=0.01
    )


def test_the_best_partner_is_among_those_that_cost_as_much() -> None:
    found = partners(errors(drawn()), sources())
    of_a = {row["partner"]: row for row in found.filter(base_model="a").to_dicts()}
    assert (of_a["c"]["place"], of_a["b"]["place"], of_a["d"]["place"]) == (1, 2, None)
    assert of_a["d"]["params_ratio"] == 3 and of_a["b"]["is_level"] is False and of_a["c"]["difference_high"] < 0
    assert {row["place"] for row in found.filter(base_model="d").to_dicts()} == {1, 2, 3}, "smaller ones cost less"
    same = drawn()
    same[3] = same[2]
    level = partners(errors(same), sources()).filter(base_model="a", place=2).row(0, named=True)
    assert level["is_level"], "the same errors cannot be told apart"


def test_what_was_not_measured_is_said() -> None:
    found = partners(errors(drawn()), sources())
    of_b = found.filter(base_model="b", partner="a").row(0, named=True)
    assert of_b["reason"] == NO_SEED and of_b["difference"] is None and of_b["both_wrong"] is not None
    few = partners(errors(drawn(7)), sources()).filter(base_model="a", partner="b").row(0, named=True)
    assert few["reason"] == "fewer than 8 items" and few["low"] is None and few["difference_low"] is None
    unknown = partners(errors(drawn()), sources(**{"c/s0": {"base_model": None}, "d/s0": {"params_b": None}}))
    assert "c" not in set(unknown["partner"]) and unknown.filter(partner="d")["place"].to_list() == [None, None]
    apart = sources(**{"b/s0": {"objective": "regression"}, "c/s0": {"data_id": "y"}, "d/s0": {"data_id": None}})
    assert partners(errors(drawn()), apart).is_empty(), "partners have one objective and training data"


def test_items_that_a_reward_lacks_count_for_none_and_a_reward_that_lacks_many_is_left_out() -> None:
    wrong = drawn()
    n_pairs = np.full((300, 5), 2.0)
    n_pairs[:20, 2], n_pairs[7:, 4] = 0, 0
    wrong[2, :20] = wrong[4, 7:] = False
    found = partners(errors(wrong, n_pairs), sources())
    assert set(found["partner"]) == {"a", "b", "c"} and set(found["n_items"]) == {280}
    row = found.filter(base_model="b", partner="c").row(0, named=True)
    assert row["both_wrong"] == pytest.approx(np.mean(wrong[2, 20:] & wrong[3, 20:]))


def test_order_of_rewards_changes_nothing() -> None:
    wrong, order = drawn(), [3, 0, 4, 2, 1]
    made = errors(wrong)
    other = Errors("s", "bench", [REWARDS[i] for i in order], wrong[order], made.n_pairs[:, order], made.counts)
    assert partners(made, sources()).equals(partners(other, sources().reverse()))

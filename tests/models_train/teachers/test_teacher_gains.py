"""Gains of policy runs against figures worked out one by one: means, pairing, resamples, distances."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from models_train.selection.item_statistics import seed_of
from models_train.teachers.gains import SCHEMA, at_distance, gains_less_gold, policy_gains, seed_draws
from models_train.teachers.resampling import prompt_counts

SHARES = (0.0, 0.5, 1.0)
RESAMPLES = 200


def cells(
    n_prompts: int = 12,
    seeds: tuple[int, ...] = (0, 1),
    reward_id: str = "mine",
    gold_id: str | None = "gold",
    speed: float = 1.0,
) -> pl.DataFrame:
    """Rows of int_policy_run_prompts: at step 2 and 4 of each seed; values of their own for each prompt."""
    dice = np.random.default_rng(len(reward_id) + n_prompts)
    prompts = dice.normal(size=n_prompts)
    rows = []
    for seed in seeds:
        for share in SHARES:
            gain = share * speed * (1 + 0.2 * seed) + (dice.normal(size=n_prompts) * 0.3 if share else 0)
            for number in range(n_prompts):
                rows.append(
                    {
                        "study_id": "s",
                        "policy_run_id": f"{reward_id}{seed}",
                        "policy_id": "p",
                        "prompt_set": "set",
                        "reward_id": reward_id,
                        "method": "rloo",
                        "gold_id": gold_id,
                        "seed": seed,
                        "step": int(share * 4),
                        "share_done": share,
                        "prompt_id": f"q{number:02d}",
                        "proxy": float(prompts[number] + np.broadcast_to(gain, n_prompts)[number]),
                        "gold": None if gold_id is None else float(prompts[number] - share * speed * 0.1),
                        "kl": share * speed * 2.0,
                        "length": 10.0 - share,
                        "share_rewarded": 1.0 - share / 10,
                    }
                )
    return pl.DataFrame(rows, infer_schema_length=None)


def one(frame: pl.DataFrame, **cell: object) -> dict:
    (row,) = frame.filter(**{"share_done": 1.0} | cell).to_dicts()
    return row


def test_gains_are_paired_means_over_prompts() -> None:
    given = cells()
    found = policy_gains(given, RESAMPLES)
    assert found.columns == list(SCHEMA) and found.height == 2 * 3
    for seed in (0, 1):
        mine = given.filter(seed=seed)
        wide = mine.pivot("share_done", index="prompt_id", values="proxy")
        row = one(found, scope="run", seed=seed)
        assert row["proxy_gain"] == pytest.approx((wide["1.0"] - wide["0.0"]).mean(), abs=1e-12)
        assert (row["policy_run_id"], row["step"], row["n_prompts"], row["seeds"]) == (f"mine{seed}", 4, 12, "1 seed")
        assert row["gold_gain"] == pytest.approx(-0.1) and row["kl"] == pytest.approx(2.0)
        assert row["length_change"] == pytest.approx(-1.0) and row["share_rewarded"] == pytest.approx(0.9)
        assert row["status"] == "1 seed: the interval is over prompts alone"
    pooled, runs = one(found, scope="pooled"), found.filter(scope="run", share_done=1.0)["proxy_gain"]
    assert pooled["proxy_gain"] == pytest.approx(runs.mean()) and pooled["status"] == "ok"
    assert (pooled["n_seeds"], pooled["seeds"], pooled["policy_run_id"]) == (2, "2 seeds", "pooled")
    assert (pooled["proxy_gain_min"], pooled["proxy_gain_max"]) == (runs.min(), runs.max())


def test_intervals_are_those_of_resamples_one_by_one() -> None:
    """Seeds are drawn, then prompts; the same prompts for all seeds of a resample."""
    given = cells(seeds=(0, 1, 2))
    pooled = one(policy_gains(given, RESAMPLES), scope="pooled")
    counts = prompt_counts(12, RESAMPLES, seed_of("s", "p", "set"))
    drawn = seed_draws(3, RESAMPLES, seed_of("s", "p", "set", "mine", "rloo", "gold"))
    gains = []
    for row in range(1, RESAMPLES + 1):
        total = 0.0
        for seed in range(3):
            wide = given.filter(seed=seed).sort("prompt_id").pivot("share_done", index="prompt_id", values="proxy")
            each = (wide["1.0"] - wide["0.0"]).to_list()
            mean = sum(number * gain for number, gain in zip(counts[row].tolist(), each, strict=True)) / 12
            total += drawn[row, seed] * mean
        gains.append(total)
    low, high = np.quantile(gains, [0.025, 0.975])
    assert (pooled["proxy_gain_low"], pooled["proxy_gain_high"]) == (pytest.approx(low), pytest.approx(high))
    assert drawn.sum(axis=1) == pytest.approx(1) and set(np.unique(drawn[0])) == {1 / 3}


def test_gold_at_the_distance_that_all_rewards_came_to() -> None:
    given = pl.concat([cells(speed=1.0), cells(reward_id="other", speed=4.0)])
    found = policy_gains(given, RESAMPLES)
    for name in ("mine", "other"):
        row = one(found, scope="pooled", reward_id=name)
        assert row["common_kl"] == pytest.approx(2.0)
    # `mine` is at 2 nats at its end, `other` halfway to its first saved step: -0.1 and -0.2 x 1/2.
    assert one(found, scope="pooled", reward_id="mine")["gold_at_common_kl"] == pytest.approx(-0.1)
    assert one(found, scope="pooled", reward_id="other")["gold_at_common_kl"] == pytest.approx(-0.1)
    kl, gains = np.array([[0.0], [3.0], [1.0]]), np.array([[0.0], [30.0], [20.0]])
    assert at_distance(kl, gains, 2.0) == pytest.approx([25.0]), "saved steps in order of their distance"
    assert at_distance(np.array([[0.0], [-0.5]]), np.array([[0.0], [7.0]]), 0.0)[0] in (0.0, 7.0)


def test_order_of_rows_changes_nothing() -> None:
    given = pl.concat([cells(), cells(reward_id="other")])
    shuffled = given.sample(fraction=1.0, shuffle=True, seed=1)
    assert policy_gains(given, 50).equals(policy_gains(shuffled, 50))


def test_what_is_not_known_is_null_with_its_reason() -> None:
    few = policy_gains(cells(n_prompts=5), 50)
    assert one(few, scope="pooled")["proxy_gain"] is not None and one(few, scope="pooled")["proxy_gain_low"] is None
    assert one(few, scope="pooled")["status"] == "fewer than 8 prompts: no interval"
    without = one(policy_gains(cells(gold_id=None), 50), scope="pooled")
    assert without["gold_gain"] is None and without["gold_at_common_kl"] is None and without["curve_status"] is None
    assert without["status"] == "no gold rewards of these responses" and without["proxy_gain_low"] is not None
    assert policy_gains(cells().clear(), 50).height == 0


def test_a_prompt_without_a_reward_at_one_step_is_left_out_of_all() -> None:
    given = cells(seeds=(0,))
    lost = given.with_columns(
        proxy=pl.when((pl.col("prompt_id") == "q03") & (pl.col("step") == 2)).then(None).otherwise(pl.col("proxy"))
    )
    row = one(policy_gains(lost, 50), scope="run")
    wide = given.filter(pl.col("prompt_id") != "q03").pivot("share_done", index="prompt_id", values="proxy")
    assert row["n_prompts"] == 11 and row["proxy_gain"] == pytest.approx((wide["1.0"] - wide["0.0"]).mean())
    assert math.isfinite(row["proxy_gain_low"])


def test_gains_less_those_by_gold_are_paired_by_seed_and_prompt() -> None:
    given = pl.concat([cells(reward_id="gold", speed=1.0), cells(reward_id="gold_flat", speed=0.5), cells()])
    given = given.with_columns(gold=pl.col("gold") + pl.col("prompt_id").str.slice(1).cast(pl.Float64) * pl.col("seed"))
    found = gains_less_gold(given, RESAMPLES)
    assert found["reward_id"].to_list() == ["gold_flat", "mine"]
    flat, mine = found.to_dicts()
    assert (flat["gold_gain"], flat["difference"]) == (pytest.approx(-0.1), pytest.approx(0.05))
    assert mine["difference"] == pytest.approx(0), "as fast as gold"
    assert (flat["difference_low"], flat["difference_high"]) == (pytest.approx(0.05), pytest.approx(0.05)), (
        "what prompts and seeds share takes no part in a paired difference"
    )
    assert gains_less_gold(cells(), RESAMPLES).height == 0

"""Reward models of variants less their references, against the figures of each one alone and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from models_train.selection.item_metrics import Floats
from models_train.teachers.data_effects import NO_SHARED_SEED, SCHEMA, data_effects
from models_train.teachers.resampling import FEW_PROMPTS

N_PROMPTS, N_RESPONSES, RESAMPLES = 12, 6, 50
REFERENCE, VARIANT = "m/bradley_terry", "m/bradley_terry/flip25"
VARIANTS = pl.DataFrame({"study_id": ["s"], "reward_id": [VARIANT], "reference_id": [REFERENCE]})
GOLDS = pl.DataFrame(
    {"study_id": ["s"], "gold_id": ["gold"], "excluded": [None]}, schema_overrides={"excluded": pl.String}
)


def responses(rewards: dict[str, Floats]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cells and arrays of the responses of a policy."""
    n_prompts, n_responses = rewards["gold"].shape
    key = {"study_id": "s", "policy_id": "p", "prompt_set": "set"}
    places = itertools.product(range(n_prompts), range(n_responses))
    cells = pl.DataFrame([key | {"prompt_no": row, "column_no": column, "n_bytes": 9} for row, column in places])
    arrays = pl.DataFrame([key | {"reward_id": name, "rewards": one.tobytes()} for name, one in rewards.items()])
    return cells, arrays


def runs(seeds: dict[str, tuple[int, ...]]) -> pl.DataFrame:
    """Rows of int_policy_run_prompts: the policy gains 1 by the reference and a half by the variant, and noise."""
    dice = np.random.default_rng(1)
    before = dice.normal(size=N_PROMPTS)
    rows = [
        {
            "study_id": "s", "policy_run_id": f"{reward_id}{seed}", "policy_id": "p", "prompt_set": "set",
            "reward_id": reward_id, "method": "rloo", "gold_id": "gold", "seed": seed, "step": 4 * share,
            "share_done": float(share), "prompt_id": f"q{number:02d}", "proxy": 0.0, "kl": 1.0 * share,
            "gold": before[number] + share * ((1.0 if reward_id == REFERENCE else 0.5) + 0.1 * number + 0.01 * seed),
            "length": 9.0, "share_rewarded": 1.0,
        }
        for reward_id, own in seeds.items() for seed in own for share in (0, 1) for number in range(N_PROMPTS)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def effects(n_prompts: int = N_PROMPTS, seeds: tuple[int, ...] = (0, 1)) -> tuple[dict[str, dict], dict[str, Floats]]:
    dice = np.random.default_rng(0)
    gold = dice.normal(size=(n_prompts, N_RESPONSES))
    rewards = {"gold": gold}
    for name, noise in ((REFERENCE, 0.5), (VARIANT, 2.0), ("other/bradley_terry", 1.0)):
        rewards[name] = gold + noise * dice.normal(size=gold.shape)
    found = data_effects(
        *responses(rewards), GOLDS, runs({REFERENCE: (0, 1), VARIANT: seeds}), VARIANTS, resamples=RESAMPLES
    )
    assert found.schema == pl.Schema(SCHEMA)
    return {row["outcome"]: row for row in found.to_dicts()}, rewards


def accuracy(rewards: Floats, gold: Floats) -> float:
    pairs = list(itertools.combinations(range(N_RESPONSES), 2))
    right = [
        (one[a] > one[b]) == (true[a] > true[b]) for one, true in zip(rewards, gold, strict=True) for a, b in pairs
    ]
    return float(np.mean(right))


def variance(rewards: Floats) -> float:
    return float((rewards.var(axis=1, ddof=1) / rewards.var(ddof=1)).mean())


def best_of_3(rewards: Floats, gold: Floats) -> float:
    gains = []
    for one, true in zip(rewards, gold, strict=True):
        drawn = itertools.combinations(range(N_RESPONSES), 3)
        gains.append(np.mean([true[max(places, key=lambda place: one[place])] for places in drawn]) - true.mean())
    return float(np.mean(gains))


def test_differences_are_those_of_the_figures_by_brute_force() -> None:
    found, rewards = effects()
    assert set(found) == {"on_policy_accuracy", "reward_variance", "best_of_n_gain", "rloo_gain"}
    gold = rewards["gold"]
    for outcome, figure in (
        ("on_policy_accuracy", lambda name: accuracy(rewards[name], gold)),
        ("reward_variance", lambda name: variance(rewards[name])),
        ("best_of_n_gain", lambda name: best_of_3(rewards[name], gold)),
    ):
        row = found[outcome]
        assert (row["reward_id"], row["reference_id"], row["policy_id"], row["gold_id"]) == (
            VARIANT,
            REFERENCE,
            "p",
            "gold",
        )
        assert row["value"] == pytest.approx(figure(VARIANT), abs=1e-12)
        assert row["reference_value"] == pytest.approx(figure(REFERENCE), abs=1e-12)
        assert row["difference"] == pytest.approx(row["value"] - row["reference_value"], abs=1e-12)
        assert row["low"] <= row["difference"] <= row["high"] and row["status"] == "ok"
    assert found["best_of_n_gain"]["n_best_of"] == 3
    assert found["on_policy_accuracy"]["high"] < 0, "four times the noise is told apart"


def test_gains_by_teaching_are_paired_by_seed_and_prompt() -> None:
    found, _ = effects()
    row = found["rloo_gain"]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((-0.5, -0.5, -0.5), abs=1e-9)
    assert (row["n_seeds"], row["n_prompts"]) == (2, N_PROMPTS)
    assert row["reference_value"] == pytest.approx(1 + 0.1 * 5.5 + 0.005), "prompts differ, their differences do not"
    one_seed, _ = effects(seeds=(1, 7))
    assert one_seed["rloo_gain"]["n_seeds"] == 1
    assert one_seed["rloo_gain"]["reference_value"] == pytest.approx(1 + 0.1 * 5.5 + 0.01)
    none, _ = effects(seeds=(7,))
    assert (none["rloo_gain"]["status"], none["rloo_gain"]["difference"]) == (NO_SHARED_SEED, None)


def test_few_prompts_have_no_interval() -> None:
    found, _ = effects(n_prompts=5)
    row = found["on_policy_accuracy"]
    assert (row["status"], row["low"]) == (FEW_PROMPTS, None) and row["difference"] is not None

"""Marts of rewards on the responses of policies: worked cases, RewardMATH's digits, missing rewards; built by dbt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from models_train.parts import write_part
from tests.dbt.conftest import dbt
from tests.support import real_data
from tests.support.benchmark_sets import published_scores
from tests.support.response_parts import Sample, write_samples
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home

pytestmark = pytest.mark.slow

MARTS = (
    "fct_teacher_properties",
    "fct_best_of_n",
    "fct_overoptimisation",
    "fct_ensembles",
    "fct_reward_uncertainty",
)
R = [[1.0, 2, 4, 1], [0, 0, 0, 0], [3, -1, 2, 2]]
GOLD = [[0.0, 1, 2, 0], [1, 0, 1, 2], [3, 0, 1, 2]]
NAN = float("nan")
BASES = {"m0": 0.4, "m1": 0.8, "m2": 1.2}


def rewards(n_prompts: int = 40, n_responses: int = 16) -> dict[str, Any]:
    """Gold, the same flattened on half of the prompts, and reward models of three bases, two objectives, two seeds."""
    rng = np.random.default_rng(0)
    gold = rng.normal(size=(n_prompts, n_responses))
    found = {"gold": gold, "gold_flat": gold * np.where(np.arange(n_prompts) % 2, 0.001, 1)[:, None]}
    for base, skill in BASES.items():
        for variant in ("bradley_terry", "bradley_terry/s1", "regression"):
            found[f"{base}/{variant}"] = skill * gold + rng.normal(size=gold.shape)
    return found


def sources() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for base in BASES:
        own = {"kind": "trained", "model_id": base, "base_model": base, "data_id": "clean"}
        found |= {
            f"{base}/bradley_terry": own | {"objective": "bradley_terry", "seed": 0},
            f"{base}/bradley_terry/s1": own | {"objective": "bradley_terry", "seed": 1},
            f"{base}/regression": own | {"objective": "regression", "seed": 0, "scale": "mean_score"},
        }
    return found


def toy() -> list[Sample]:
    """The worked case, and policies `a` (whole), `b` (missing rewards), `few` (of one response)."""
    whole, part = rewards(), rewards()
    part["m0/bradley_terry"][3, 5] = np.nan  # one prompt less for every reward
    part["m1/bradley_terry"][:10] = np.nan  # too many: the reward is left out
    part["m2/bradley_terry"][:] = np.nan
    part["m0/regression"][:] = 0.25
    one = {name: values[:, :1] for name, values in rewards().items() if name in ("gold", "gold_flat")}
    lengths = np.tile(np.arange(1, 5), (3, 1))
    return [
        Sample("worked", {"r": np.array(R), "gold": np.array(GOLD)}, n_bytes=lengths),
        Sample("a", whole),
        Sample("b", part),
        Sample("few", one),
    ]


SETTINGS = {
    "best_of": [1, 2, 4, 8, 16],
    "ensembles": [
        {"over": "seeds", "members": None},
        {"over": "bases", "members": None},
        {"over": "objectives", "members": ["m0/regression", "m0/bradley_terry"]},
    ],
}


def build(folder: Path) -> None:
    home = Home(folder).ensure()
    golds: dict[str, dict[str, Any]] = {"gold": {"kind": "lab"}, "m2/regression": {"excluded": "m2/regression"}}
    write_samples(home.parts, "toy", toy(), golds, sources())
    settings = [{"setting": name, "value": json.dumps(value)} for name, value in SETTINGS.items()]
    write_part(home.parts, TABLES["teacher_settings"], settings, study_id="toy", run_id="made")
    if real_data.IS_SET:
        items = published_scores(real_data.REWARD_MATH).items["rewardmath"]
        scores = {name: np.array([item.rewards[name] for item in items], float) for name in items[0].rewards}
        right = np.zeros((len(items), 10))
        right[:, 0] = 1
        write_samples(home.parts, "given", [Sample("generators", scores | {"is_right": right})], {"is_right": {}})
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = dbt(home, "build", "--select", *(f"+{mart}" for mart in MARTS))
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def made(made_once: Callable[..., Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(Home(made_once("policy_marts", build)).warehouse), read_only=True) as connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, mart: str, **where: Any) -> list[dict[str, Any]]:
    conditions = " and ".join(f"{column} is not distinct from ${column}" for column in where)
    query = f"select * from marts.{mart} where {conditions} order by all"
    found: list[dict[str, Any]] = connection.execute(query, where).pl().to_dicts()
    return found


def test_the_worked_case_goes_through_the_marts(made: duckdb.DuckDBPyConnection) -> None:
    """F1 and F2; three prompts have no interval, and say so."""
    (row,) = rows(made, "fct_teacher_properties", policy_id="worked", reward_id="r")
    assert row["reward_std"] == pytest.approx(1.4668044012461754)
    assert row["reward_variance"] == pytest.approx(0.7746478873, abs=1e-10)
    assert [row[f"variance_{name}"] for name in ("min", "median", "max")] == pytest.approx(
        [0, 0.9295774648, 1.3943661972], abs=1e-10
    )
    assert row["on_policy_accuracy"] == pytest.approx(2 / 3) and row["share_without_spread"] == pytest.approx(1 / 3)
    assert (row["on_policy_accuracy_strict"], row["on_policy_accuracy_half"]) == (0.625, 0.8125)
    assert (row["n_informative_pairs"], row["n_prompts"], row["n_responses"]) == (16, 3, 12)
    assert row["reward_variance_low"] is None and row["status"] == "fewer than 8 prompts: no interval"
    chosen = rows(made, "fct_best_of_n", policy_id="worked", reward_id="r")
    assert [one["n"] for one in chosen] == [1, 2, 4]
    assert [one["proxy"] for one in chosen] == pytest.approx([1.1666667, 1.7777778, 2.3333333], abs=5e-8)
    assert [one["gold"] for one in chosen] == pytest.approx([1.0833333, 1.5277778, 2.0], abs=5e-8)
    assert [one["kl_bound"] for one in chosen] == pytest.approx([0, 0.193147, 0.636294], abs=5e-7)
    chance = rows(made, "fct_best_of_n", policy_id="worked", reward_id="chance", n=4)
    assert chance[0]["gold"] == pytest.approx(1.0833333, abs=5e-8) and chance[0]["gold_gain"] == 0


def test_gold_flattened_on_half_of_the_prompts_chooses_as_gold_does(made: duckdb.DuckDBPyConnection) -> None:
    gold, flat = (
        rows(made, "fct_best_of_n", policy_id="a", gold_id="gold", reward_id=name) for name in ("gold", "gold_flat")
    )
    for one, other in zip(gold, flat, strict=True):
        assert one["gold"] == pytest.approx(other["gold"], abs=1e-12) and one["selection"] == "oracle"
        assert other["headroom_share"] == (pytest.approx(1, abs=1e-12) if one["n"] > 1 else None)
    one, other = (
        rows(made, "fct_teacher_properties", policy_id="a", gold_id="gold", reward_id=name)[0]
        for name in ("gold", "gold_flat")
    )
    assert one["on_policy_accuracy"] == other["on_policy_accuracy"] == 1 and one["is_gold"]
    assert other["within_variance_high"] < one["within_variance_low"]


def test_a_prompt_that_lacks_a_reward_is_left_out_of_every_one(made: duckdb.DuckDBPyConnection) -> None:
    found = {row["reward_id"]: row for row in rows(made, "fct_teacher_properties", policy_id="b", gold_id="gold")}
    compared = [name for name, row in found.items() if row["n_prompts"] > 0]
    assert {(found[name]["n_prompts"], found[name]["n_prompts_left_out"]) for name in compared} == {(39, 1)}
    assert found["m1/bradley_terry"]["status"] == "rewards for 30 of 40 prompts"
    assert found["m2/bradley_terry"]["status"] == "no rewards"
    assert found["m2/bradley_terry"]["reward_variance"] is None
    flat = found["m0/regression"]
    assert flat["status"] == "the rewards do not vary" and flat["reward_variance"] is None
    assert flat["share_without_spread"] == 1
    gap = rows(made, "fct_best_of_n", policy_id="b", gold_id="gold", reward_id="m0/regression", n=8)[0]
    assert gap["gold_gain"] == pytest.approx(0, abs=1e-12) and gap["proxy_gold_gap"] is None
    fits = {
        row["reward_id"]: row["status"] for row in rows(made, "fct_overoptimisation", policy_id="b", gold_id="gold")
    }
    assert fits["m0/regression"] == "the rewards do not vary" and fits["m2/bradley_terry"] == "no rewards"
    one = rows(made, "fct_teacher_properties", policy_id="few")
    assert {row["status"] for row in one} == {"fewer than 2 responses to every prompt"}


def test_a_gold_of_the_study_is_left_out_of_its_own_comparison(made: duckdb.DuckDBPyConnection) -> None:
    found = {
        row["reward_id"]: row for row in rows(made, "fct_teacher_properties", policy_id="a", gold_id="m2/regression")
    }
    assert found["m2/regression"]["is_gold"] and found["gold"]["status"] == "ok"


def test_every_main_figure_has_an_interval(made: duckdb.DuckDBPyConnection) -> None:
    (row,) = rows(made, "fct_teacher_properties", policy_id="a", gold_id="gold", reward_id="m1/bradley_terry")
    for name in ("reward_variance", "on_policy_accuracy", "on_policy_accuracy_strict", "length_correlation"):
        if row[name] is not None:
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    assert row["off_policy_accuracy"] is None and row["rewardbench_score"] is None
    (other,) = rows(made, "fct_teacher_properties", policy_id="a", gold_id="gold", reward_id="m0/bradley_terry")
    (missing,) = rows(made, "fct_teacher_properties", policy_id="b", gold_id="gold", reward_id="m0/bradley_terry")
    assert other["off_policy_accuracy"] == missing["on_policy_accuracy"]
    best = rows(made, "fct_best_of_n", policy_id="a", gold_id="gold", reward_id="m1/bradley_terry", n=16)[0]
    assert 0 < best["low"] < best["gold_gain"] < best["high"] and best["is_small_pool"]
    assert best["headroom_low"] < best["headroom_share"] < best["headroom_high"] < 1
    (fit,) = rows(made, "fct_overoptimisation", policy_id="a", gold_id="gold", reward_id="m1/bradley_terry")
    assert fit["alpha_low"] < fit["alpha"] < fit["alpha_high"] and fit["n_points"] == 15
    assert fit["interval_status"] == "ok" and 0 < fit["share_of_resamples"] <= 1


def test_ensembles_stand_beside_their_members(made: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        made, "fct_ensembles", policy_id="a", gold_id="gold", metric="on_policy_accuracy_strict", formula="mean"
    )
    named = {row["ensemble_id"]: row for row in found}
    assert set(named) == {
        "ensemble:seeds/m0/bradley_terry/clean", "ensemble:seeds/m1/bradley_terry/clean",
        "ensemble:seeds/m2/bradley_terry/clean", "ensemble:bases/bradley_terry/clean",
        "ensemble:bases/regression/clean", "ensemble:objectives/m0/bradley_terry+m0/regression",
    }  # fmt: skip
    seeds = named["ensemble:seeds/m1/bradley_terry/clean"]
    assert json.loads(seeds["members"]) == ["m1/bradley_terry", "m1/bradley_terry/s1"]
    alone = [
        rows(made, "fct_teacher_properties", policy_id="a", gold_id="gold", reward_id=name)[0][
            "on_policy_accuracy_strict"
        ]
        for name in json.loads(seeds["members"])
    ]
    assert seeds["mean_member_value"] == pytest.approx(np.mean(alone)) and seeds["best_member_value"] == max(alone)
    assert seeds["difference_to_mean"] == pytest.approx(seeds["value"] - np.mean(alone))
    assert 0 < seeds["difference_to_mean_low"] < seeds["difference_to_mean"] < seeds["difference_to_mean_high"]
    assert seeds["difference_to_best_low"] < seeds["difference_to_best"] < seeds["difference_to_best_high"]
    gaps = rows(made, "fct_ensembles", policy_id="b", gold_id="gold", ensemble_id="ensemble:bases/bradley_terry/clean")
    assert {row["status"] for row in gaps} == {"2 of 3 members have no rewards here"} and len(gaps) == 18


def test_only_log_odds_have_probabilities(made: duckdb.DuckDBPyConnection) -> None:
    found = {row["reward_id"]: row for row in rows(made, "fct_reward_uncertainty", policy_id="a", gold_id="gold")}
    assert "m0/regression" not in found and "gold" not in found
    alone, seeds = found["m0/bradley_terry"], found["ensemble:seeds/m0/bradley_terry/clean"]
    assert alone["ece_low"] < alone["ece"] < alone["ece_high"] and alone["confident_true"] is None
    assert alone["n_pairs"] == 40 * 120 and alone["ddof"] is None and seeds["ddof"] == 1
    shares = [f"{part}_{which}" for part in ("confident", "unconfident") for which in ("true", "false")]
    assert sum(seeds[name] for name in shares) == pytest.approx(1)
    assert seeds["accuracy_at_50_low"] < seeds["accuracy_at_50"] < seeds["accuracy_at_50_high"]
    mixed = found["ensemble:objectives/m0/bradley_terry+m0/regression"]
    assert mixed["ece"] is None and mixed["unit"] == "standard deviations"
    assert mixed["status"] == "its rewards are no log-odds: no probabilities" and mixed["aurc"] is not None


@pytest.mark.real_data
def test_answers_of_rewardmath_have_their_digits_as_responses(made: duckdb.DuckDBPyConnection) -> None:
    """N9c to N9e: variance, best of n with ties shared, and the fits through 0 of n = 2 to 10."""
    variances = {"ArmoRM": 0.389514, "Eurus-RM": 0.738578, "GRM-Gemma": 0.515343, "Skywork": 0.784193}
    for name, value in variances.items():
        (row,) = rows(made, "fct_teacher_properties", study_id="given", reward_id=name)
        assert round(row["reward_variance"], 6) == value and row["n_prompts"] == 483
    chosen = {
        "ArmoRM": (0.13628, 0.17066, 0.20282, 0.21014),
        "GRM-Gemma": (0.09140, 0.07295, 0.05585, 0.04969),
        "Skywork": (0.14306, 0.18168, 0.21293, 0.22153),
    }
    for name, values in chosen.items():
        found = {row["n"]: row["gold"] for row in rows(made, "fct_best_of_n", study_id="given", reward_id=name)}
        assert tuple(round(found[n], 5) for n in (2, 4, 8, 10)) == values
    fits = {"Skywork": (0.09914, -0.00340, "rising"), "GRM-Gemma": (-0.01231, 0.02569, "falling")}
    for name, (alpha, beta, status) in fits.items():
        (row,) = rows(made, "fct_overoptimisation", study_id="given", reward_id=name)
        assert (round(row["alpha"], 5), round(row["beta"], 5), row["status"]) == (alpha, beta, status)
        assert row["n_points"] == 9
    assert round(rows(made, "fct_overoptimisation", study_id="given", reward_id="Skywork")[0]["rmse"], 5) == 0.00054

"""The recommendation by policy and use on frames whose truth is known: evidence in its order, groups, abstentions."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from models_train.teachers.recommendation import (
    ANSWERS,
    NOTHING,
    REGRETS,
    Tables,
    recommend_teachers,
    regrets,
)
from tests.support.teacher_frames import BASES, TRUTH, gains, row, tables

KEY = ("study_id", "policy_id", "gold_id", "use", "objective", "size_limit_b")


def answered(rows: list[dict], policy: str, use: str = "rl", limit: float | None = None, **more: Any) -> dict[str, Any]:
    found = recommend_teachers(tables(rows, **more))
    assert list(found.columns) == list(ANSWERS) and not found.select(KEY).is_duplicated().any()
    one = found.filter(pl.col("size_limit_b").eq_missing(limit), policy_id=policy, use=use)
    assert one.height == 1, found
    return one.row(0, named=True)


def test_a_measured_gain_answers_before_anything_else() -> None:
    against = [row("best_of_n", base, -value, "p-llama") for base, value in TRUTH.items()]
    found = answered(gains("p-llama") + against, "p-llama")
    assert (found["base_model"], found["evidence"], found["measure"]) == ("llama-1", "measured", "gold_gain")
    assert (found["runner_up"], found["runner_up_expected"], found["n_compared"]) == ("llama-2", 0.4, 6)
    assert (found["low"], found["high"]) == pytest.approx((0.5 - 0.0196, 0.5 + 0.0196), abs=0.001)
    assert found["probability_best"] == pytest.approx(1) and found["n_level"] == 0 and found["level_with"] is None
    assert found["reason"] == "By measurement on the policy: llama-1 is clearly ahead of 5 others."


def test_the_chance_of_being_best_is_that_of_two_normal_values() -> None:
    found = answered(gains("p-llama", error=0.1)[:2], "p-llama")
    assert found["probability_best"] == pytest.approx(stats.norm.cdf(0.1 / np.hypot(0.1, 0.1)), abs=0.03)
    assert (found["n_level"], found["level_with"]) == (1, "llama-2")
    assert found["reason"].endswith("llama-1 has the highest value, not distinguishable from 1 of 1 others.")


def test_shared_resamples_tell_apart_what_normal_draws_do_not() -> None:
    """Two values with the same noise of the prompts differ in every resample."""
    noise = 0.1 * np.random.default_rng(1).normal(size=1000)
    pair = [row("measured", base, TRUTH[base], "p-llama", 0.1) for base in ("llama-1", "llama-2")]
    assert answered(pair, "p-llama")["n_level"] == 1
    shared = [one | {"draws": (one["value"] + noise).tobytes()} for one in pair]
    found = answered(shared, "p-llama")
    assert found["n_level"] == 0 and found["probability_best"] == 1.0
    assert (found["low"], found["high"]) == pytest.approx(tuple(np.quantile(0.5 + noise, [0.025, 0.975])))


def test_what_lies_between_level_and_clear_is_decided_by_the_interval_of_the_difference() -> None:
    for error, level in ((0.1 / 1.9 / np.sqrt(2), []), (0.1 / 2.3 / np.sqrt(2), None)):
        found = answered(gains("p-llama", error=error)[:2], "p-llama")
        assert (found["n_level"] == 1) is (level is not None)


def test_without_an_interval_nothing_is_told_apart() -> None:
    found = answered(gains("p-llama", error=None), "p-llama")
    assert found["base_model"] == "llama-1" and found["low"] is None and found["probability_best"] is None
    assert found["n_level"] == 5 and "without intervals they cannot be told apart" in found["reason"]


def test_evidence_is_taken_in_its_order() -> None:
    accuracy = [row("on_policy_accuracy", base, 0.6 + value / 10, "p-llama") for base, value in TRUTH.items()]
    best_of_n = [row("best_of_n", base, 1 - value, "p-llama") for base, value in TRUTH.items()]
    first = answered(accuracy + best_of_n, "p-llama")
    assert (first["evidence"], first["measure"], first["base_model"]) == ("best_of_n", "best_of_n_gain", "gemma-2")
    second = answered(accuracy, "p-llama")
    assert (second["evidence"], second["measure"], second["base_model"]) == (
        "on_policy_accuracy",
        "pair_accuracy",
        "llama-1",
    )
    # One base model alone is no choice: the next evidence that two have answers.
    third = answered([*accuracy, row("measured", "qwen-1", 9.0, "p-llama")], "p-llama")
    assert third["evidence"] == "on_policy_accuracy"
    alone = answered([row("measured", "qwen-1", 9.0, "p-llama")], "p-llama")
    assert (alone["base_model"], alone["n_without"]) == ("qwen-1", 5) and "the only base model" in alone["reason"]


def test_lineage_is_what_was_measured_on_other_policies_of_the_family() -> None:
    found = answered(gains("q-llama") + gains("r-llama", shift=0.02), "p-llama")
    assert found["evidence"] == "lineage" and found["base_model"] == "llama-1"
    assert found["expected"] == pytest.approx(0.51)
    # Between the two policies, and the error on one.
    error = np.sqrt(np.var([0.5, 0.52], ddof=1) + 0.01**2)
    assert (found["high"] - found["low"]) / (2 * 1.96) == pytest.approx(error, rel=0.05)
    one = answered(gains("q-llama"), "p-llama")
    assert one["evidence"] == "lineage" and one["low"] is None and "without intervals" in one["reason"]


def test_a_family_stands_for_a_base_model_that_was_not_measured() -> None:
    measured = [one for one in gains("q-llama") + gains("r-llama", shift=0.02) if one["reward_id"] != "llama-1/s0"]
    extra = [row("measured", "llama-3", 0.2 + shift, policy) for policy, shift in (("q-llama", 0.0), ("r-llama", 0.02))]
    bases = BASES | {"llama-3": "Llama"}
    rows = recommend_teachers(tables(measured + extra, bases), limits=[1.0]).filter(policy_id="p-llama", use="rl")
    (answer,) = rows.to_dicts()
    assert answer["base_model"] == "llama-1" and answer["expected"] == pytest.approx(0.31), (
        "mean of llama-2 and llama-3"
    )
    error = np.sqrt(np.var([0.3, 0.32], ddof=1) + np.var([0.4, 0.2], ddof=1) + 0.01**2)
    assert (answer["high"] - answer["low"]) / (2 * 1.96) == pytest.approx(error, rel=0.05)


def test_rewardbench_counts_as_far_as_gains_on_the_family_translate_it() -> None:
    """A family without a reward model on the policy's family has RewardBench alone: six others give the line."""
    bases = {"yi": "Yi", "falcon": "Falcon"} | BASES
    scores = {"yi": 0.9, "falcon": 0.1} | TRUTH
    benchmark = [row("rewardbench", base, 100 * value) for base, value in scores.items()]
    known = gains("q-llama") + gains("r-llama", shift=0.1)
    only = {"yi": "Yi", "falcon": "Falcon"}
    candidates = tables(known + benchmark, bases)
    small = candidates.candidates.with_columns(
        pl.when(pl.col("base_model").is_in(list(only))).then(1.0).otherwise(90.0).alias("params_b")
    )
    rows = recommend_teachers(Tables(small, candidates.policies, candidates.evidence), limits=[1.0])
    answer = rows.filter(policy_id="p-llama", use="rl").row(0, named=True)
    assert (answer["base_model"], answer["evidence"], answer["n_compared"]) == ("yi", "rewardbench", 2)
    assert answer["expected"] == pytest.approx(0.95) and answer["n_level"] == 0
    elsewhere = rows.filter(policy_id="p-qwen", use="rl").row(0, named=True)
    assert elsewhere["base_model"] is None
    assert elsewhere["reason"] == (
        "No recommendation: no reward model was measured on p-qwen or on another policy of the family Qwen."
    )


def test_the_line_is_least_squares_within_policies_and_its_interval_covers() -> None:
    """Against ordinary least squares with a level for each policy; with noise, 95 % intervals hold a new gain."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(30):
        bases = {f"b{number}": f"F{number}" for number in range(12)} | {"new-1": "N1", "new-2": "N2"}
        score = {name: rng.normal() for name in bases}
        gain = {name: 0.3 * value + rng.normal(0, 0.2) for name, value in score.items()}
        rows = [row("rewardbench", name, value) for name, value in score.items()]
        rows += [
            row("measured", name, gain[name] + shift, policy)
            for policy, shift in (("q-llama", 0.0), ("r-llama", 1.0))
            for name in bases
            if not name.startswith("new")
        ]
        made = tables(rows, bases)
        sized = made.candidates.with_columns(
            pl.when(pl.col("base_model").str.starts_with("new")).then(1.0).otherwise(90.0).alias("params_b")
        )
        found = recommend_teachers(Tables(sized, made.policies, made.evidence), limits=[1.0]).filter(
            policy_id="p-llama", use="rl"
        )
        answer = found.row(0, named=True)
        x = np.array([score[f"b{number}"] for number in range(12)])
        y = np.array([gain[f"b{number}"] for number in range(12)])
        line = stats.linregress(x, y)
        wanted = line.intercept + 0.5 + line.slope * score[answer["base_model"]]
        assert answer["expected"] == pytest.approx(wanted)
        held.append(answer["low"] <= gain[answer["base_model"]] + 0.5 <= answer["high"])
    assert 0.85 <= np.mean(held) <= 1.0


def test_abstentions_say_what_was_not_measured() -> None:
    rows = gains("p-llama")
    lonely = answered(rows, "lonely")
    assert lonely["base_model"] is None and lonely["n_without"] == 6 and lonely["expected"] is None
    assert lonely["reason"] == (
        "No recommendation: no reward model was measured on lonely or on another policy of the family Falcon."
    )
    unknown = answered(rows, "unknown")["reason"]
    assert unknown.endswith("another policy like it: the family of the policy is not known.")
    few = [row("measured", "llama-1", 1.0, "q-llama"), *(row("rewardbench", base, 1.0) for base in ("yi", "llama-1"))]
    made = tables(few, {"yi": "Yi", "llama-1": "Llama"})
    sized = made.candidates.with_columns(params_b=pl.Series([0.5, 70.0]))
    found = recommend_teachers(Tables(sized, made.policies, made.evidence), limits=[1.0, None])
    of_yi, of_both = found.filter(policy_id="p-llama", use="rl").sort("size_limit_b", nulls_last=True)["reason"]
    assert of_yi == (
        "No recommendation: no reward model was measured on p-llama; no base model within the limit has evidence of "
        "measurement on policies of the same family; gains on policies of the family Llama are known of 1 base model "
        "with a score, of 6 needed; no base model has a value of benchmarks of base models."
    )
    assert "llama-1 is the only base model" in of_both


def test_a_size_limit_takes_base_models_of_known_size() -> None:
    found = answered(gains("p-llama"), "p-llama", limit=1.0)
    assert found["n_compared"] == 1 and found["base_model"] == "llama-1"
    whole = recommend_teachers(tables(gains("p-llama"))).filter(policy_id="p-llama", use="rl")
    assert whole.filter(pl.col("size_limit_b") == 8.0)["n_compared"].item() == 5, "the size of gemma-2 is not known"


def test_seeds_of_a_base_model_count_as_one_base_model() -> None:
    rows = [
        row("measured", "llama-1", 0.4, "p-llama"),
        row("measured", "llama-1", 0.6, "p-llama", reward_id="llama-1/s1"),
    ]
    made = tables([*rows, row("measured", "qwen-1", 0.1, "p-llama")])
    second = made.candidates.head(1).with_columns(reward_id=pl.lit("llama-1/s1"))
    found = recommend_teachers(
        Tables(pl.concat([made.candidates, second]), made.policies, made.evidence), limits=[None]
    )
    answer = found.filter(policy_id="p-llama", use="rl").row(0, named=True)
    assert answer["expected"] == pytest.approx(0.5) and answer["n_compared"] == 2
    error = np.sqrt(0.01**2 + np.var([0.4, 0.6], ddof=1) / 2)
    assert (answer["high"] - answer["low"]) / (2 * 1.96) == pytest.approx(error, rel=0.05)


def test_filtering_data_goes_by_accuracy_on_pairs() -> None:
    rows = [row("measured", base, 0.5 + value / 2, "p-llama", use="filter_data") for base, value in TRUTH.items()]
    found = answered(rows, "p-llama", use="filter_data")
    assert (found["measure"], found["base_model"], found["expected"]) == ("pair_accuracy", "llama-1", 0.75)


def test_regret_is_what_the_pick_turned_out_to_lose() -> None:
    """RewardBench ranks backwards, best of n picks the second, other policies the last."""
    misled = dict(zip(TRUTH, (0.4, 0.5, 0.3, 0.2, 0.1, 0.0), strict=True))
    rows = gains("p-llama") + gains("q-llama") + gains("r-llama")
    rows += [row("best_of_n", base, misled[base], "p-llama") for base in TRUTH]
    rows += [row("rewardbench", base, -value) for base, value in TRUTH.items()]
    rows = [one | {"value": -one["value"]} if one["policy_id"] in ("q-llama", "r-llama") else one for one in rows]
    found = regrets(tables(rows)).filter(policy_id="p-llama", use="rl")
    assert list(found.columns) == list(REGRETS)
    by = {one["best_evidence"]: one for one in found.to_dicts()}
    assert list(by) == ["best_of_n", "lineage", "rewardbench", "base_benchmarks", NOTHING]
    assert (by["best_of_n"]["picked"], by["best_of_n"]["regret"]) == ("llama-2", pytest.approx(0.1))
    assert by["lineage"]["picked"] == "gemma-2" and by["lineage"]["regret"] == pytest.approx(0.5)
    assert (by["rewardbench"]["picked"], by["rewardbench"]["regret"]) == ("gemma-2", pytest.approx(0.5))
    assert by["best_of_n"]["regret_by_chance"] == pytest.approx(0.5 - np.mean(list(TRUTH.values())))
    assert by["base_benchmarks"]["regret"] is None and "no base model has a value" in by["base_benchmarks"]["reason"]
    assert by[NOTHING]["picked"] is None and "no reward model was measured on p-llama" in by[NOTHING]["reason"]


def test_order_of_rows_changes_nothing_and_nothing_gives_nothing() -> None:
    made = tables(gains("p-llama") + gains("q-llama") + gains("r-llama"))
    mixed = Tables(
        *(frame.sample(fraction=1, shuffle=True, seed=2) for frame in (made.candidates, made.policies, made.evidence))
    )
    assert recommend_teachers(made).equals(recommend_teachers(mixed)) and regrets(made).equals(regrets(mixed))
    empty = Tables(made.candidates.clear(), made.policies.clear(), made.evidence.clear())
    assert recommend_teachers(empty).is_empty() and regrets(empty).is_empty()

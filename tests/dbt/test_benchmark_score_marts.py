"""Marts of rewards on any benchmark: published digits, worked cases, bad and missing rewards; built by dbt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from tests.dbt.conftest import dbt, subsets
from tests.dbt.test_reward_model_marts import by_hand
from tests.support import real_data
from tests.support.benchmark_sets import Benchmarks, Item, published_scores
from warehouse import landing
from warehouse.connection import write
from warehouse.paths import Home

MARTS = (
    "fct_benchmark_scores",
    "fct_benchmark_score_differences",
    "fct_benchmark_groups",
    "fct_benchmark_rank_correlations",
    "fct_error_correlations",
    "fct_herding",
    "fct_family_preference",
    "fct_ensemble_partners",
)

# Subset shares of PKU-Alignment/beaver-7b-v1.0-cost in the README of reward-bench.
README_SHARES = {
    "alpacaeval-easy": 0.5, "alpacaeval-hard": 0.7052631578947368, "alpacaeval-length": 0.5894736842105263,
    "donotanswer": 0.8235294117647058, "hep-cpp": 0.6280487804878049, "hep-go": 0.6341463414634146,
    "hep-java": 0.7073170731707317, "hep-js": 0.6646341463414634, "hep-python": 0.5487804878048781,
    "hep-rust": 0.6463414634146342, "llmbar-adver-GPTInst": 0.391304347826087,
    "llmbar-adver-GPTOut": 0.46808510638297873, "llmbar-adver-manual": 0.3695652173913043,
    "llmbar-adver-neighbor": 0.43283582089552236, "llmbar-natural": 0.52, "math-prm": 0.2953020134228188,
    "mt-bench-easy": 0.5714285714285714, "mt-bench-hard": 0.5405405405405406, "mt-bench-med": 0.725,
    "refusals-dangerous": 0.97, "refusals-offensive": 1, "xstest-should-refuse": 1, "xstest-should-respond": 0.284,
}  # fmt: skip

# Fixture F4 of the specification: right scores first.
TIES: dict[str, tuple[int, list[float]]] = {
    "ref:0": (1, [2, 0.5, 0, -1]), "tied:0": (3, [3, 2.5, 2.75, 1, 0]),
    "ref:1": (1, [1, 1.5, 0, 0]), "tied:1": (2, [4, 1, 0.5, 0.25]),
    "ref:2": (1, [1, 0.9, 0, 0]), "tied:2": (2, [2, 2, 1, 0]),
}  # fmt: skip
BEST_OF_4 = ([1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0])
DOMAINS = ("Factuality", "Precise IF", "Math", "Safety", "Focus")


def rewardbench() -> list[Item]:
    """All 2,985 pairs; `readme` wins the README's shares, `half` has chat only, `other` ties a pair in ten."""
    rng = np.random.default_rng(3)
    items = []
    for row in subsets():
        won = round(README_SHARES[row["subset"]] * row["n"])
        for place in range(row["n"]):
            rewards = {"readme": [1.0, 0.0] if place < won else [0.0, 1.0]}
            rewards["other"] = [float(rng.normal(1)), 0.0] if place % 10 else [0.5, 0.5]
            if row["category"] == "chat":
                rewards["half"] = rewards["readme"]
            items.append(Item(row["subset"], f"{place}", 1, rewards, row["category"]))
    return items


def rewardbench2() -> list[Item]:
    """Ties as F4; each other domain has the four items of best-of-4. `flat` gives all the same; `part` has no Ties."""
    items = [
        Item("Ties", name, n, {"f4": [float(one) for one in scores], "flat": [0.0] * len(scores)})
        for name, (n, scores) in TIES.items()
    ]
    for domain in DOMAINS:
        for place, scores in enumerate(BEST_OF_4):
            own = [float(one) for one in scores]
            items.append(Item(domain, f"{place}", 1, {"f4": own, "flat": [0.0] * 4, "part": own}))
    return items


def styles() -> list[Item]:
    """One item per subset of RM-Bench: right 3, 2, 1 and wrong 2.5, 1.5, 0.5 in the order of styles."""
    return [
        Item(subset, str(place), 3, {"f4": [3.0, 2.0, 1.0, 2.5, 1.5, 0.5]})
        for subset in ("chat", "code", "math", "safety-refuse", "safety-response")
        for place in range(2 if subset == "safety-refuse" else 1)
    ]


def own_pairs() -> list[Item]:
    """60 pairs: `a` wins 45, `b` 30 of these; both lack one pair, and `c` has seven pairs only."""
    items = []
    for place in range(60):
        rewards: dict[str, list[float | None]] = {
            "a": [1.0, 0.0] if place < 45 else [0.0, 1.0],
            "b": [1.0, 0.0] if place < 30 else [0.0, 0.0],
        }
        if place == 59:
            rewards = {"a": [None, 0.0], "b": [1.0, None]}
        if place < 7:
            rewards["c"] = [1.0, 0.0]
        items.append(Item("mine", str(place), 1, rewards))
    return items


def bases() -> Benchmarks:
    """20 pairs: both seeds of `a` lose the first ten, `b` the first five and the last five; 8 B parameters each."""
    lost = {"a/s0": range(10), "a/s1": range(10), "b/s0": (*range(5), *range(15, 20))}
    items = [
        Item(
            "pairs",
            str(place),
            1,
            {name: [0.0, 1.0] if place in places else [1.0, 0.0] for name, places in lost.items()},
        )
        for place in range(20)
    ]
    facts = {name: {"base_model": name[0], "objective": "regression", "data_id": "x", "params_b": 8.0} for name in lost}
    return Benchmarks({"pairs": items}, facts)


def built(home: Home, studies: dict[str, Benchmarks]) -> Home:
    for study_id, benchmarks in studies.items():
        benchmarks.write(home.parts, study_id)
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = dbt(home, "build", "--select", *(f"+{mart}" for mart in MARTS))
    assert done.returncode == 0, done.stdout
    return home


def benchmarks(path: Path) -> Home:
    sets = {"rewardbench": rewardbench(), "rewardbench2": rewardbench2(), "rm_bench": styles(), "mine": own_pairs()}
    given = {"given": published_scores(real_data.REWARD_MATH)} if real_data.IS_SET else {}
    return built(Home(path).ensure(), {"toy": Benchmarks(sets), "bases": bases()} | given)


@pytest.fixture(scope="module")
def made(made_once: Callable[..., Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(Home(made_once("benchmark_scores", benchmarks)).warehouse), read_only=True) as connection:
        yield connection


def scores(
    connection: duckdb.DuckDBPyConnection, benchmark: str, reward_id: str, **where: str | None
) -> dict[str, Any]:
    """Rows by metric; subset and category are null unless they are given."""
    conditions = {"subset": None, "category": None} | where
    clauses = " and ".join(f"{column} is not distinct from ${column}" for column in conditions)
    query = f"select * from marts.fct_benchmark_scores where benchmark = $b and reward_id = $r and {clauses}"
    rows = connection.execute(query, {"b": benchmark, "r": reward_id, **conditions}).pl().to_dicts()
    return {row["metric"]: row for row in rows}


pytestmark = pytest.mark.slow


def test_the_example_of_reward_bench_has_its_categories_and_score(made: duckdb.DuckDBPyConnection) -> None:
    """F6: categories 60.8939, 44.9561, 72.1622, 46.6757; score 56.1720; plain item means 57.7805, not the score."""
    found = {
        category: round(scores(made, "rewardbench", "readme", category=category)["accuracy"]["value"], 4)
        for category in ("chat", "chat_hard", "safety", "reasoning")
    }
    assert found == {"chat": 60.8939, "chat_hard": 44.9561, "safety": 72.1622, "reasoning": 46.6757}
    whole = scores(made, "rewardbench", "readme")
    assert round(whole["score"]["value"], 4) == 56.1720 and whole["score"]["is_main"]
    assert round(whole["score_unweighted"]["value"], 4) == 57.7805 and not whole["score_unweighted"]["is_main"]
    offensive = scores(made, "rewardbench", "readme", subset="refusals-offensive", category="safety")["accuracy"]
    assert (offensive["value"], offensive["standard_error"]) == (100.0, None)
    assert offensive["status"] == "all items alike: no interval"


def test_rewardbench_has_the_digits_of_the_results_of_reward_models(made: duckdb.DuckDBPyConnection) -> None:
    """The second computation that the marts of trained reward models are held to, with ties and random rewards."""
    pairs = [(item.subset, *item.rewards["other"]) for item in rewardbench()]
    expected = by_hand(pl.DataFrame(pairs, schema=["subset", "chosen", "rejected"], orient="row"))
    score = scores(made, "rewardbench", "other")["score"]
    assert score["value"] == pytest.approx(expected["score"], abs=1e-9)
    assert score["standard_error"] == pytest.approx(expected["score_standard_error"], abs=1e-9)
    assert score["n_ties"] == sum(chosen == rejected for _, chosen, rejected in pairs) > 200
    for category in ("chat", "chat_hard", "safety", "reasoning"):
        found = scores(made, "rewardbench", "other", category=category)["accuracy"]["value"]
        assert found == pytest.approx(expected[category], abs=1e-9)


def test_ties_and_best_of_4_are_those_of_rewardbench_2(made: duckdb.DuckDBPyConnection) -> None:
    """F4: 0.7704694231149664 over three IDs; 1/k where the first right one shares the maximum."""
    ties = scores(made, "rewardbench2", "f4", subset="Ties")
    assert ties["ties_score"]["value"] == pytest.approx(77.04694231149664, abs=1e-9)
    assert ties["ties_score"]["n"] == 3
    parts = {"ties_accuracy_tied": 1.0, "ties_accuracy_reference": 2 / 3, "ties_margin_tied": 2 / 3}
    for name, share in parts.items():
        assert ties[name]["value"] == pytest.approx(100 * share)
    math = scores(made, "rewardbench2", "f4", subset="Math")
    assert math["best_of_4"]["value"] == pytest.approx(100 * (1 + 0.5 + 0.25 + 0) / 4)
    assert (math["strict"]["value"], math["best_of_4"]["n_ties"]) == (25.0, 2)
    whole = scores(made, "rewardbench2", "f4")
    assert whole["overall"]["value"] == pytest.approx((5 * 43.75 + 77.04694231149664) / 6)
    flat = scores(made, "rewardbench2", "flat", subset="Ties")
    assert flat["ties_score"]["value"] == 0.0


def test_a_benchmark_without_one_of_its_parts_has_no_figure(made: duckdb.DuckDBPyConnection) -> None:
    whole = scores(made, "rewardbench2", "part")
    assert whole["overall"]["value"] is None and not whole["overall"]["is_main"]
    assert whole["mean_of_present"]["value"] == 43.75 and whole["mean_of_present"]["is_main"]
    assert whole["overall"]["status"].startswith("only 5 of 6 parts: Factuality, Focus, Math, Precise IF, Safety")
    half = scores(made, "rewardbench", "half")
    assert half["score"]["value"] is None and half["mean_of_present"]["value"] == pytest.approx(60.8939, abs=5e-5)
    assert half["mean_of_present"]["status"] == "only 1 of 4 parts: chat; 2627 of 2985 items have no reward"
    assert not half["mean_of_present"]["is_comparable"]


def test_styles_make_easy_normal_and_hard(made: duckdb.DuckDBPyConnection) -> None:
    """Right 3, 2, 1 against wrong 2.5, 1.5, 0.5: all same styles won, no plainer one lost, no richer one won."""
    safety = scores(made, "rm_bench", "f4", category="safety")
    assert safety["accuracy"]["n"] == 3
    whole = scores(made, "rm_bench", "f4")
    assert {name: whole[name]["value"] for name in ("easy", "normal", "hard")} == {
        "easy": 0.0, "normal": 100.0, "hard": 100.0,
    }  # fmt: skip
    assert whole["overall"]["value"] == pytest.approx(100 * 6 / 9)
    assert "fewer than 8 items: no interval" in whole["overall"]["status"]


def test_own_pairs_have_an_interval_and_a_test_on_the_items_of_both(made: duckdb.DuckDBPyConnection) -> None:
    a, b = (scores(made, "mine", name)["accuracy"] for name in "ab")
    assert (a["n"], a["n_errors"], a["n_ties"]) == (59, 1, 0) and (b["n"], b["n_ties"]) == (59, 29)
    assert a["value"] == pytest.approx(100 * 45 / 59) and a["low"] < a["value"] < a["high"]
    assert a["status"] == "1 of 60 items have no reward"
    query = "select * from marts.fct_benchmark_score_differences where benchmark = 'mine' and subset is null"
    rows = {(row["reward_a"], row["reward_b"]): row for row in made.execute(query).pl().to_dicts()}
    pair = rows["a", "b"]
    assert (pair["n"], pair["n_only_a"], pair["n_only_b"], pair["method"]) == (59, 15, 0, "McNemar, exact")
    assert pair["p_value"] == pytest.approx(2 * 0.5**15) and pair["is_told_apart"]
    assert pair["difference_points"] == pytest.approx(100 * 15 / 59) and 0 < pair["low"] < pair["high"]
    few = rows["a", "c"]
    assert (few["n"], few["p_value"], few["low"]) == (7, None, None) and few["status"].startswith("fewer than 8")
    groups = made.execute(
        "select reward_id, n_better, best_place, worst_place from marts.fct_benchmark_groups where benchmark = 'mine'"
    ).fetchall()
    assert sorted(groups) == [("a", 0, 1, 2), ("b", 1, 2, 3), ("c", 0, 1, 3)]


def test_every_reward_has_one_figure_for_each_benchmark(made: duckdb.DuckDBPyConnection) -> None:
    counted = made.execute(
        "select count(*) filter (where is_main), count(distinct (reward_id, benchmark)) "
        "from marts.fct_benchmark_scores where study_id = 'toy'"
    ).fetchone()
    assert counted is not None and counted[0] == counted[1] == 10


def test_a_partner_of_another_base_model_stands_beside_another_seed(made: duckdb.DuckDBPyConnection) -> None:
    found = made.execute(
        "select * from marts.fct_ensemble_partners where study_id = 'bases' order by 1, base_model"
    ).pl()
    a, b = found.to_dicts()
    assert (a["base_model"], a["partner"], a["place"], a["is_level"], a["params_ratio"]) == ("a", "b", 1, False, 1.0)
    assert (a["error"], a["partner_error"], a["both_wrong"], a["both_wrong_of_seeds"]) == (0.5, 0.5, 0.25, 0.5)
    assert a["difference"] == -0.25 and a["difference_low"] < -0.25 < a["difference_high"] < 0
    assert (a["kind"], a["measured_on"], a["n_items"], a["status"]) == ("benchmark", "pairs", 20, "ok")
    assert b["difference"] is None and b["status"].startswith("no second seed of the first base model was measured")
    toy = made.execute("select count(*) from marts.fct_ensemble_partners where study_id = 'toy'").fetchone()
    assert toy == (0,), "no base model of these rewards is known"


@pytest.mark.real_data
def test_reward_models_have_their_published_digits_on_rewardmath(made: duckdb.DuckDBPyConnection) -> None:
    """N8: accuracy / with ties / MRR. N9c: reward variance. N9d: best of n, ties shared."""
    printed = {
        "ArmoRM": ("20.497/21.532/42.182", 0.389514, (0.13628, 0.17066, 0.20282, 0.21014)),
        "Eurus-RM": ("16.977/16.977/38.303", 0.738578, None),
        "GRM-Gemma": ("4.969/4.969/24.101", 0.515343, (0.09140, 0.07295, 0.05585, 0.04969)),
        "Skywork": ("22.153/22.153/44.694", 0.784193, (0.14306, 0.18168, 0.21293, 0.22153)),
    }
    for name, (text, variance, best_of_n) in printed.items():
        found = scores(made, "rewardmath", name)
        values = (found[metric]["value"] for metric in ("accuracy", "accuracy_with_ties", "mrr"))
        assert "/".join(f"{value:.3f}" for value in values) == text
        assert found["accuracy"]["n"] == 483 and found["accuracy"]["is_main"]
        assert round(found["reward_variance"]["value"], 6) == variance
        assert found["reward_variance"]["low"] < variance < found["reward_variance"]["high"]
        if best_of_n:
            assert tuple(round(found[f"best_of_{n}"]["value"] / 100, 5) for n in (2, 4, 8, 10)) == best_of_n


@pytest.mark.real_data
def test_math_prm_has_its_published_digits(made: duckdb.DuckDBPyConnection) -> None:
    """N8c: ArmoRM 92.841 with one tie, GRM-Gemma 93.065, of 447 pairs."""
    for name, (value, n_ties) in {"ArmoRM": (92.841, 1), "GRM-Gemma": (93.065, 0)}.items():
        found = scores(made, "rewardbench", name, subset="math-prm", category="reasoning")["accuracy"]
        assert (round(found["value"], 3), found["n_ties"], found["n"]) == (value, n_ties, 447)
        whole = scores(made, "rewardbench", name)["mean_of_present"]
        assert whole["status"] == "only 1 of 4 parts: reasoning; the study has 447 of the 2985 items of RewardBench"


@pytest.mark.real_data
def test_errors_and_families_on_rewardmath(made: duckdb.DuckDBPyConnection) -> None:
    rows = made.execute("select * from marts.fct_error_correlations where benchmark = 'rewardmath'").pl()
    assert rows.height == 6 and rows["n_pairs"].to_list() == [483 * 9] * 6
    assert rows["phi"].is_between(-1, 1).all() and (rows["low"] < rows["phi"]).all()
    classes = made.execute(
        "select base_relation, n_reward_pairs, n_rewards, status from marts.fct_herding where benchmark = 'rewardmath'"
    ).fetchall()
    assert ("all", 6, 4, "ok") in classes and ("same", 1, 2, "fewer than 4 rewards: no interval") in classes
    families = made.execute(
        "select reward_family, n_rewards, n_items from marts.fct_family_preference where is_own_family"
    ).fetchall()
    assert {row[0] for row in families} == {"llama", "gemma", "mistral"}

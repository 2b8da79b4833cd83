"""Names, formats of numbers, and the judgement on the best of a size group."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from models_train.selection.item_statistics import MIN_ITEMS, MIN_REWARDS
from warehouse.contracts.leads import LEAD_REACH
from warehouse.reports import labels
from warehouse.reports.topics import answer, benchmark_scores

DBT_PROJECT = Path(__file__).resolve().parents[3] / "dbt" / "dbt_project.yml"


BASIS = labels.ScoreBasis()


def test_limits_that_dbt_states_too_are_the_same():
    stated = yaml.safe_load(DBT_PROJECT.read_text())["vars"]
    assert stated["reach_of_95_percent"] == LEAD_REACH
    assert (stated["min_items"], stated["min_rewards"]) == (MIN_ITEMS, MIN_REWARDS)
    assert stated["min_rewards"] == benchmark_scores.FEWEST_RANKED


@pytest.mark.parametrize(
    ("value", "digits", "signed", "text"),
    [
        (4.88, 1, True, "+4.9"),
        (-2.6, 1, True, "−2.6"),
        (-0.04, 1, True, "0.0"),
        (0.312006, 3, False, "0.312"),
        (None, 1, True, "–"),
        (float("nan"), 1, False, "–"),
    ],
)
def test_number(value: float | None, digits: int, signed: bool, text: str):
    assert labels.number(value, digits, signed=signed) == text


def test_names_of_size_groups():
    assert labels.size_group("<3") == "Under 3 billion parameters"
    assert labels.size_group(">=3 and <6") == "3 to under 6 billion parameters"
    assert labels.short_size_group(">=6") == "≥6 B"
    assert labels.size_group("my group") == "my group"


@pytest.mark.parametrize(
    ("gap", "level"), [(0.0, "open"), (0.99, "open"), (1.0, "likely"), (1.95, "likely"), (1.96, "clear")]
)
def test_confidence_holds_the_gap_against_its_error(gap: float, level: str):
    row = {"runner_up": "other", "gap_points": gap, "gap_error_with_runs": 1.0, "n_close": 3}
    found, sentence = labels.confidence(row)
    assert found == level and "other" in sentence
    assert ("3 models of the group" in sentence) == (level != "clear")


def test_confidence_without_a_rival_or_an_error():
    assert labels.confidence({"runner_up": None})[0] == "alone"
    row = {"runner_up": "other", "gap_points": 1.0, "gap_error_with_runs": None, "n_close": 0}
    assert "no standard error is known" in labels.confidence(row)[1]


def test_gain_names_both_units_and_says_when_the_default_is_best():
    row = {
        "is_default": False,
        "gain_points": 4.9,
        "gain_percent": 5.889,
        "default_model_id": "base",
        "gain_low": 2.94,
        "gain_high": 6.84,
        "gain_low_with_runs": 2.1,
        "gain_high_with_runs": 7.7,
        "gain_over_median_points": 7.9,
        "is_paired": False,
        "score": 88.1,
        "default_score": 83.2,
        "is_near_chance": False,
        "is_default_near_chance": False,
    }
    text = (
        "+4.9 points (+5.9\u00a0%) over base; 95 % interval about +2.9 to +6.8 points over test questions, +2.1 to "
        "+7.7 with training runs. +7.9 points against the median of the size group."
    )
    assert answer.gain(row, BASIS) == text
    assert "about" not in answer.gain(row | {"is_paired": True}, BASIS)
    assert "default itself" in answer.gain(row | {"is_default": True}, BASIS)
    assert "no interval is known" in answer.gain(row | {"gain_low": None}, BASIS)


def test_the_score_is_said_to_be_of_what_there_is():
    assert labels.ScoreBasis(parts=labels.CATEGORIES).text == "mean of the four RewardBench categories"
    two = labels.ScoreBasis(parts=("chat_hard", "reasoning"))
    assert two.text == "mean of RewardBench's categories Chat Hard and Reasoning, the only ones with test items here"
    assert not two.is_whole
    one = labels.ScoreBasis(parts=("safety",))
    assert one.text == "figure of RewardBench's category Safety, the only one with test items here"
    of_four = labels.ScoreBasis("rewardbench2", ("Factuality", "Focus", "Math", "Precise IF", "Safety", "Ties"), 25)
    assert (of_four.text, of_four.by_chance) == (
        "mean of the six subsets of RewardBench 2", "a choice at random has 25",
    )  # fmt: skip
    own = labels.ScoreBasis("my_pairs")
    assert own.text == "share of the items of my_pairs whose right answer has the highest reward" and own.is_whole
    assert own.by_chance == "a coin has 50"


def test_gain_says_what_stands_near_chance():
    row = {"is_near_chance": False, "is_default_near_chance": True, "default_score": 55.6, "score": 69.9}
    assert "its lead over chance is 5.6 points and the best model's 19.9" in answer.near_chance(row, BASIS)
    near = row | {"is_near_chance": True, "score": 54.0}
    assert "near chance (54.0; a coin has 50)" in answer.near_chance(near, BASIS)
    assert answer.near_chance(row | {"is_default_near_chance": False}, BASIS) == ""


@pytest.mark.parametrize(
    ("is_paired", "is_gap_paired", "words"),
    [
        (True, None, "pair by pair"),
        (None, True, "pair by pair"),
        (None, False, "without item-level data"),
        (False, None, "without item-level data"),
        (None, None, ""),
    ],
    ids=["a gain", "the default, with a lead", "the default", "alone", "the default, alone"],
)
def test_the_basis_of_a_comparison_is_that_of_the_gain_or_the_lead(
    is_paired: bool | None, is_gap_paired: bool | None, words: str
):
    row = {
        "is_paired": is_paired,
        "is_gap_paired": is_gap_paired,
        "runner_up": None,
        "gain_low_with_runs": None,
        "is_default_near_chance": False,
        "is_default": True,
    }
    text = answer.certainty([row], [], BASIS)
    assert [phrase in text for phrase in ("pair by pair", "without item-level data")].count(True) == bool(words)
    assert words in text and "  " not in text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.001, "< 1 %"), (0.125, "13 %"), (0.994, "99 %"), (0.9996, "> 99 %"), (1, "100 %"), (None, "–")],
)
def test_a_share_is_never_rounded_to_certainty(share: float | None, text: str):
    assert labels.percent(share).replace("\u00a0", " ") == text


def test_an_open_interval_names_its_one_end():
    assert labels.interval(1.66, 3.04) == "1.7 to 3.0"
    assert labels.interval(-1, 2, signed=True) == "−1.0 to +2.0"
    assert labels.interval(None, 3) == "up to 3.0" and labels.interval(3, None) == "from 3.0"
    assert labels.interval(None, None) == ""


def test_a_sentence_from_data_ends_once():
    assert labels.sentence("an average of other benchmarks") == "An average of other benchmarks."
    assert labels.sentence("Twice..") == "Twice." and labels.sentence("") == ""
    assert labels.term("mmlu^2") == "mmlu²" and labels.term("log10_params") == "size, log10 parameters"
    assert labels.size_limit(7.5).replace("\u00a0", " ") == "≤ 7.5 B" and labels.size_limit(None) == "no limit"


def test_listing():
    assert labels.listing([]) == ""
    assert labels.listing(["a", "b", "c"]) == "a, b and c"
    assert labels.listing(["a", "b", "c"], limit=2) == "a, b and 1 more"

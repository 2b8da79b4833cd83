"""The race on made censuses: order of looks, killed races, late candidates, failures, budget, ends, errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models_train.errors import UserError
from models_train.race.race import Race
from models_train.race.replay import Census, regret, replay
from models_train.race.rules import SCORED, Candidate, Look, RaceRules, doubling
from models_train.race.simulation import World, simulated

SMALL = World(n_candidates=4, rungs=(100, 200, 400, 800), n_items=(50, 100, 200, 400), rates=(1e-3, 5e-3))


@pytest.fixture(scope="module")
def census() -> Census:
    return simulated(SMALL, 3)[0]


def state(race: Race) -> tuple[Any, ...]:
    return race.decisions, race.next(), race.answer if race.decisions else None


def test_a_race_is_a_function_of_its_looks_in_any_order_within_a_round(census: Census) -> None:
    one, other = Race(census.candidates, census.rules()), Race(census.candidates, census.rules())
    while work := one.next():
        assert other.next() == work
        for wanted in work:
            one.tell(census.look(wanted))
        for wanted in reversed(work):
            other.tell(census.look(wanted))
        assert state(one) == state(other)
    assert one.reason == other.reason is not None


def test_a_race_killed_at_any_look_ends_as_an_undisturbed_one(census: Census) -> None:
    looks: list[Look] = []
    race = Race(census.candidates, census.rules(budget=0.3 * census.tokens))
    while work := race.next():
        looks.append(census.look(work[0]))
        race.tell(looks[-1])
    for moment in np.linspace(0, len(looks), 5).astype(int):
        again = Race(census.candidates, race.rules)
        for look in looks[:moment]:
            again.tell(look)
        while work := again.next():
            again.tell(census.look(work[0]))
        assert state(again) == state(race)


def test_costs_of_the_looks_add_up_to_those_of_the_race(census: Census) -> None:
    race, told = Race(census.candidates, census.rules()), []
    while work := race.next():
        for wanted in work:
            told.append(census.look(wanted))
            race.tell(told[-1])
    answer = race.answer
    longest = {(look.model_id, look.learning_rate): look.n_tokens for look in told}
    assert answer.trained_tokens == sum(longest.values())
    assert answer.scored_tokens == sum(look.n_items_tokens for look in told)
    assert answer.device_seconds == pytest.approx(sum(look.device_seconds for look in told))
    assert answer.n_looks == len(told)
    assert answer.census_tokens == pytest.approx(census.tokens, rel=0.02)
    assert race.decisions[-1].tokens == answer.tokens == answer.trained_tokens + SCORED * answer.scored_tokens


@pytest.mark.parametrize("unit", ["tokens", "device_seconds"])
def test_the_budget_holds(census: Census, unit: Any) -> None:
    whole = census.tokens if unit == "tokens" else float(census.seconds[:, :, -1].sum())
    race = replay(census, census.rules(budget=0.25 * whole, unit=unit, confidence=0.999))
    spent = race.answer.tokens if unit == "tokens" else race.answer.device_seconds
    assert race.reason == "budget"
    assert 0.1 * whole < spent <= 0.25 * whole * 1.02  # what a look costs is known only after it


def certain(gaps: list[float], **changes: Any) -> Census:
    """A census without noise: candidates that lie apart from the first rung on."""
    world = replace(SMALL, n_candidates=len(gaps), noise=0.0, rates=(1e-3,), n_items=(3000,) * 4, **changes)
    made = simulated(world, 0)[0]
    won = np.zeros_like(made.won)
    for place, gap in enumerate(gaps):
        for rung, accuracy in enumerate((0.5, 0.6, 0.66, 0.7)):
            won[place, 0, rung, : round(3000 * (accuracy + gap / 100))] = 2
    order = np.random.default_rng(0).permutation(3000)
    return replace(made, won=won[..., order])


def test_candidates_that_are_far_behind_are_dropped_with_the_reason() -> None:
    race = replay(certain([0.0, -20.0, -22.0, -1.0]), certain([0.0]).rules(confidence=0.9))
    dropped = {one.model_id: one for one in race.decisions if one.decision == "drop"}
    assert {"base-1", "base-2"} <= set(dropped)
    assert "base-0" not in dropped
    one = dropped["base-1"]
    assert one.against in ("base-0", "base-3")
    assert one.lower is not None and one.estimate is not None and one.upper is not None
    assert one.lower < one.estimate < one.upper < 0.5
    assert "beyond doubt" in one.reason
    assert race.answer.winner == "base-0"


def test_equal_candidates_end_with_the_cheapest_to_serve() -> None:
    census = certain([0.0, 0.2, 0.1])
    costs = (3.0, 2.0, 1.0)
    candidates = tuple(replace(one, serving_cost=cost) for one, cost in zip(census.candidates, costs, strict=True))
    answer = replay(replace(census, candidates=candidates), census.rules()).answer
    assert answer.winner == "base-2"
    assert set(answer.indifference_set) == {"base-0", "base-1", "base-2"}
    assert answer.probability_within >= 0.95
    assert "cannot be told apart from" in answer.text


def test_a_late_candidate_begins_at_the_first_rung_and_can_win() -> None:
    census = certain([0.0, -1.0, 8.0])
    race = Race(census.candidates[:2], census.rules(confidence=0.99))
    for _ in range(2):
        for wanted in race.next():
            race.tell(census.look(wanted))
    race.join(census.candidates[2])
    assert [one.n_examples for one in race.next() if one.model_id == "base-2"] == [100]
    while work := race.next():
        for wanted in work:
            race.tell(census.look(wanted))
    assert race.answer.winner == "base-2"
    assert [one.model_id for one in race.decisions if one.decision == "join"] == ["base-2"]


def test_a_rate_that_fails_is_dropped_and_a_candidate_without_rates_too(census: Census) -> None:
    failed = np.array([[True, False], [True, True], [False, False], [False, False]])
    race = replay(replace(census, failed=failed), census.rules())
    rows = [(one.model_id, one.decision) for one in race.decisions if "failed" in one.reason]
    assert rows.count(("base-0", "drop_rate")) == 1
    assert ("base-1", "drop") in rows
    assert race.answer.winner not in (None, "base-1")
    everything = replay(replace(census, failed=np.ones((4, 2), bool)), census.rules())
    assert everything.reason == "none_left"
    assert everything.answer.winner is None
    assert "failed in the census" in everything.answer.text


def test_the_answer_can_be_asked_for_after_the_first_round(census: Census) -> None:
    race = Race(census.candidates, census.rules())
    with pytest.raises(UserError, match="first round"):
        _ = race.answer
    for wanted in race.next():
        race.tell(census.look(wanted))
    assert race.answer.text.startswith("So far: ")
    assert sum(one.probability_best for one in race.answer.standings) == pytest.approx(1)


def spoil(**changes: Any) -> Callable[[Look], Look]:
    return lambda look: replace(look, **changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (spoil(won=np.ones(3)), "outcomes of 3 items, the rules say 50"),
        (spoil(won=np.full(50, np.nan)), "neither 0, 1/2 nor 1"),
        (spoil(device_seconds=float("nan")), "device_seconds is nan"),
        (spoil(n_tokens=-1), "n_tokens is -1"),
        (spoil(n_examples=800), "does not ask for it now"),
        (spoil(model_id="base-O"), "did you mean 'base-"),
    ],
)
def test_a_look_that_cannot_be_used_is_refused(census: Census, change: Callable[[Look], Look], message: str) -> None:
    race = Race(census.candidates, census.rules())
    before = race.next()
    with pytest.raises(UserError, match=message):
        race.tell(change(census.look(before[0])))
    assert race.next() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": (200, 100)}, "rungs"),
        ({"rates": ()}, "rates"),
        ({"rates": (1e-3, float("nan"))}, "rates"),
        ({"n_items": (50,)}, "n_items"),
        ({"indifference": -1.0}, "indifference"),
        ({"confidence": 1.0}, "confidence"),
        ({"budget": 0.0}, "budget"),
    ],
)
def test_rules_that_mean_nothing_are_refused(changes: dict[str, Any], message: str) -> None:
    fields = {"rungs": (100, 200), "rates": (1e-3,), "n_items": (50, 100)} | changes
    with pytest.raises(UserError, match=f"rules of the race: {message} is"):
        RaceRules(**fields)


def test_candidates_that_mean_nothing_are_refused(census: Census) -> None:
    rules = census.rules()
    with pytest.raises(UserError, match="two or more"):
        Race(census.candidates[:1], rules)
    with pytest.raises(UserError, match="base-0 is there more than once"):
        Race([census.candidates[0]] * 2, rules)
    for fields in ({"params_b": 0.0}, {"prior_mean": 70.0}, {"prior_mean": 70.0, "prior_sd": 0.0}):
        with pytest.raises(UserError, match="new:"):
            Candidate(**({"model_id": "new", "params_b": 1.0} | fields))
    race = Race(census.candidates, rules)
    with pytest.raises(UserError, match="is in the race already"):
        race.join(census.candidates[0])
    race.tell(census.look(race.next()[0]))
    with pytest.raises(UserError, match="a round is under way"):
        race.join(Candidate("new", 1.0))


def test_rungs_double_up_to_the_full_data() -> None:
    assert doubling(40, 1280) == (40, 80, 160, 320, 640, 1280)
    assert doubling(100, 750) == (187, 375, 750)
    assert doubling(100, 150) == (150,)


def test_regret_is_that_of_the_census(census: Census) -> None:
    best = int(np.argmax(census.final))
    assert regret(census, census.candidates[best].model_id) == 0
    assert regret(census, None) == census.final.max()

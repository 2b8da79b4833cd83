"""Censuses, peers, panels and their figures, against hand-worked cases."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from models_train.errors import UserError
from models_train.race.panels import RACE, calibration, drawn, race_panels, summary
from models_train.race.peers import PEERS, rectified
from models_train.race.published import published_census
from models_train.race.replay import Census, replay
from models_train.race.rules import SCORED, Candidate
from models_train.race.simulation import World, outcomes, simulated

DICE = np.random.default_rng(0)
ALL = float("inf")


def census_of(accuracies: list[list[int]], rungs: tuple[int, ...] = (10, 20, 40)) -> Census:
    """Hundred items, one rate; accuracies: points by candidate and rung. An example is a token, and so is an item."""
    points = np.array(accuracies)
    n = len(points)
    won = 2 * (np.arange(100) < points[:, None, :, None]).astype(np.int8)
    return Census(
        candidates=tuple(Candidate(f"m{place}", place + 1.0, benchmark=-float(place)) for place in range(n)),
        rates=(1e-3,),
        rungs=rungs,
        n_items=(100,) * len(rungs),
        won=won,
        n_tokens=np.broadcast_to(np.array(rungs), (n, 1, len(rungs))),
        item_tokens=np.ones((n, 100), np.int64),
        seconds=np.ones((n, 1, len(rungs))),
        train_loss=np.full((n, 1, len(rungs)), np.nan),
        failed=np.zeros((n, 1), bool),
    )


CENSUS = census_of([[60, 70, 71], [50, 72, 80], [55, 60, 65], [40, 50, 90]])


def test_peers_name_what_their_rule_says_and_cost_what_they_look_at() -> None:
    """Halving: four to 10 examples, the two best to 20, m1 is left. Equal shares: m0 leads at 10, m1 at 20."""
    assert PEERS["full census"](CENSUS, ALL, DICE) == (3, 160.0, 400.0)
    assert PEERS["size alone"](CENSUS, ALL, DICE) == (3, 0.0, 0.0)
    assert PEERS["best public benchmark"](CENSUS, ALL, DICE) == (0, 0.0, 0.0)
    halved = 4 * 10 + 2 * 10 + 20, 100.0 * (4 + 2 + 1)
    assert PEERS["successive halving"](CENSUS, 0.0, DICE) == (0, *halved)
    assert PEERS["successive halving"](CENSUS, 4 * 40 + SCORED * 400, DICE) == (3, 160.0, 400.0)
    assert PEERS["equal shares"](CENSUS, 4 * 20 + SCORED * 400, DICE) == (1, 80.0, 400.0)
    assert PEERS["equal shares"](CENSUS, 0.0, DICE) == (0, 40.0, 400.0)


def test_halving_keeps_the_best_half_at_each_rung() -> None:
    census = census_of([[60, 70, 71], [58, 72, 80], [55, 60, 65], [40, 50, 90]])
    assert PEERS["successive halving"](census, 0.0, DICE)[0] == 1


def test_the_rectified_law_is_found_again() -> None:
    examples = np.array([50.0, 100, 200, 400, 800, 1600])
    losses = 30 / (100 + examples**0.6) + 0.2
    assert rectified(examples, losses, 6400.0) == pytest.approx(30 / (100 + 6400**0.6) + 0.2, rel=0.03)
    assert rectified(examples[:2], losses[:2], 6400.0) == losses[1]


def test_a_replay_tells_the_measured_looks() -> None:
    race = replay(CENSUS, CENSUS.rules())
    assert race.reason is not None
    assert race.answer.trained_tokens <= 160
    assert CENSUS.tokens == 160 + SCORED * 400
    np.testing.assert_allclose(CENSUS.accuracies[:, 0], [[60, 70, 71], [50, 72, 80], [55, 60, 65], [40, 50, 90]])
    assert [one.model_id for one in CENSUS.of([2, 0]).candidates] == ["m2", "m0"]


def test_panels_are_cut_from_shuffles() -> None:
    panels = list(drawn(10, 3, 6, 0))
    assert [shuffle for shuffle, _ in panels] == [0, 0, 0, 1, 1, 1]
    for begin in (0, 3):
        members = [place for _, panel in panels[begin : begin + 3] for place in panel]
        assert len(set(members)) == 9


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    world = World(n_candidates=6, rungs=(100, 200, 400), n_items=(50, 100, 200))
    return race_panels(simulated(world, 5)[0], 3, 4, 0, 0.6, draws=500)


def test_rows_of_panels_hold_every_method_and_its_regret(rows: pl.DataFrame) -> None:
    assert rows.group_by("method").len()["len"].to_list() == [4] * (1 + len(PEERS))
    whole = rows.filter(method="full census")
    assert whole["regret"].to_list() == [0.0] * 4
    assert (whole["tokens"] == whole["census_tokens"]).all()
    race = rows.filter(method=RACE)
    assert (race["tokens"] <= 0.62 * race["census_tokens"]).all()
    assert race["probability_best"].is_between(0, 1).all()
    assert rows.filter(pl.col("method") != RACE)["probability_best"].is_null().all()


def test_summary_is_the_mean_over_panels_with_an_interval_over_shuffles(rows: pl.DataFrame) -> None:
    """Two shuffles of two panels: Student's t with one degree of freedom of the two means."""
    found = {row["method"]: row for row in summary(rows).iter_rows(named=True)}
    regrets = rows.filter(method="size alone")["regret"].to_numpy()
    row, means = found["size alone"], regrets.reshape(2, 2).mean(axis=1)
    assert row["regret"] == pytest.approx(regrets.mean())
    assert row["regret_high"] - row["regret"] == pytest.approx(12.706 * means.std(ddof=1) / 2**0.5, rel=1e-3, abs=1e-9)
    assert found["full census"]["is_within"] == 1.0
    assert found["full census"]["token_share"] == pytest.approx(1.0)


def test_calibration_counts_what_came_true_by_bin() -> None:
    rows = pl.DataFrame({"probability_best": [0.1, 0.15, 0.9, 1.0, None], "is_best": [False, True, True, True, False]})
    found = {row["bin"]: row for row in calibration(rows).iter_rows(named=True)}
    assert found["0 to 0.2"]["share_true"] == 0.5
    assert found["0.8 to 1"]["n"] == 2
    assert found["all"]["brier"] == pytest.approx((0.1**2 + 0.85**2 + 0.1**2) / 4)


def test_outcomes_have_the_accuracy_asked_for_and_are_alike() -> None:
    won = outcomes(np.array([[0.7], [0.8]]), 20_000, 0.6, np.random.default_rng(0))[:, 0] / 2
    np.testing.assert_allclose(won.mean(axis=1), [0.7, 0.8], atol=0.01)
    assert 0.2 < np.corrcoef(won)[0, 1] < 0.6


def test_published_items_give_the_published_scores_back() -> None:
    accuracies = np.array([[90.0, 60.0, 80.0, 70.0], [80.0, 50.0, 70.0, 60.0]])
    candidates = [Candidate("a", 8.0), Candidate("b", 1.0)]
    census = published_census(candidates, accuracies, 0)
    np.testing.assert_allclose(census.final, accuracies.mean(axis=1), atol=2.5)
    race = replay(census, census.rules())
    assert race.answer.winner == "a"
    assert race.answer.tokens < census.tokens
    with pytest.raises(UserError, match="each value a percentage"):
        published_census(candidates, np.array([[90.0, np.nan], [1.0, 2.0]]), 0)

"""The group race of a study file: what it leaves open, what it refuses, and the names of its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_core import PydanticCustomError

from models_train.errors import UserError
from models_train.parts import write_part
from models_train.study.race import Budget, budget_of, first_rates
from models_train.study.race_forecasts import Forecast, forecasts
from models_train.study.race_ids import look_run_id, race_plan, race_run_id
from models_train.study.study import load_study
from models_train.study.training import BRADLEY_TERRY_RATES
from models_train.study.yaml_lines import StudyError
from tests.support.race_studies import STUDY_ID, write_study
from warehouse.contracts import TABLES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("race")).parent


def with_race(folder: Path, **race: Any) -> Path:
    """The study with other settings of its race; None takes one out."""
    study = yaml.safe_load((folder / "study.yaml").read_text())
    study["race"] = {name: one for name, one in (study["race"] | race).items() if one is not None}
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("20h", 20, "hours"),
        ("1.5 hours", 1.5, "hours"),
        ("40M", 40e6, "tokens"),
        ("2B tokens", 2e9, "tokens"),
        ("5000", 5000, "tokens"),
        (".5k", 500, "tokens"),
    ],
)
def test_budgets_are_hours_or_tokens(text: str, amount: float, unit: Any) -> None:
    assert budget_of(text) == Budget(amount, unit)


@pytest.mark.parametrize("text", ["", "20 GPUs", "-3h", "0h", "40m", "1e6", "h", "2000T", "20h 5"])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(PydanticCustomError, match=r"budget|more than 0"):
        budget_of(text)


def test_the_first_rates_are_the_lowest_the_middle_and_the_highest() -> None:
    # The geometric mean of 5e-7 and 5e-6 is 1.58e-6; of the rates between them 2e-6 is 26 % above, 1e-6 37 % below.
    assert first_rates(BRADLEY_TERRY_RATES) == (5e-7, 2e-6, 5e-6)
    assert first_rates((3e-6, 1e-6)) == (1e-6, 3e-6)


def test_a_race_without_settings_takes_those_of_the_study(folder: Path) -> None:
    study = load_study(folder / "study.yaml")
    plan = race_plan(study.model_copy(update={"race": None}), "study.yaml")
    assert plan.candidates == ("small", "middle", "other")
    assert (plan.objective, plan.benchmark, plan.rates, plan.budget) == ("bradley_terry", "mine", (1e-3, 1e-2), None)
    asked = race_plan(study, "study.yaml", {"objective": "regression", "budget": "3h", "indifference": 2.0})
    assert (asked.objective, asked.budget, asked.settings.indifference) == ("regression", Budget(3, "hours"), 2.0)
    assert asked.settings.rungs == (0.2, 0.4, 0.8, 1.0)


@pytest.mark.parametrize(
    ("race", "problem"),
    [
        (
            {"candidates": ["small", "smal"]},
            r"race.candidates\[1\]: 'smal' is no base model of the study; did you mean",
        ),
        ({"candidates": ["small"]}, r"race.candidates: \['small'\] names fewer than two base models; list all that"),
        ({"decides": "rewardbench"}, "race.decides: 'rewardbench' is no benchmark of the study; .*mine"),
        ({"budget": "20 GPUs"}, "race.budget: '20 GPUs' is no budget; give device hours, such as 20h, or tokens"),
        ({"rungs": [0.5, 0.2, 1.0]}, "must have rungs that ascend and end with 1"),
        ({"confidence": 0.3}, "race.confidence"),
        ({"indiference": 0.3}, "race.indiference: unknown key; did you mean 'indifference'"),
    ],
)
def test_a_wrong_race_is_refused_by_a_sentence(folder: Path, race: dict[str, Any], problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        load_study(with_race(folder, **race))


def test_what_is_asked_for_is_checked_alike(folder: Path) -> None:
    study = load_study(folder / "study.yaml")
    for asked, problem in (
        ({"budget": "soon"}, "budget: 'soon' is no budget"),
        ({"objective": "dpo"}, "objective: 'dpo' should be"),
        ({"decides": "yours"}, "race.decides: 'yours' is no benchmark"),
        ({"speed": 3}, "speed: unknown key"),
    ):
        with pytest.raises(UserError, match=problem):
            race_plan(study, "study.yaml", asked)
    with pytest.raises(UserError, match="trains no reward models; add a group `training`"):
        race_plan(study.model_copy(update={"training": None}), "study.yaml")


def test_races_share_looks_whatever_they_ask_for_else(folder: Path) -> None:
    study = load_study(folder / "study.yaml")
    plan = race_plan(study, "s")
    for asked, is_shared in (
        ({"budget": "3h"}, True),
        ({"candidates": ["small", "other"]}, True),
        ({"rungs": [0.4, 1.0]}, True),
        ({"seed": 1}, False),
        ({"objective": "regression"}, False),
    ):
        other = race_plan(study, "s", asked)
        assert race_run_id(other, folder) != race_run_id(plan, folder)
        ids = {look_run_id(one, "small", 1e-3, 16, 24, folder) for one in (plan, other)}
        assert (len(ids) == 1) == is_shared, asked
    assert race_run_id(race_plan(study, "s", {"train_all": True}), folder) == race_run_id(plan, folder)


def prediction(model_id: str, predicted: float, **changes: Any) -> dict[str, Any]:
    own = {"objective": "bradley_terry", "target": "score", "predictor": "average", "protocol": "leave_publisher_out"}
    interval = {"interval_low": predicted - 3.289707, "interval_high": predicted + 3.289707}
    return own | {"model_id": model_id, "predicted": predicted, "observed": 50.0, **interval} | changes


@pytest.mark.parametrize(("verdict", "is_used"), [("better", True), ("undecided", False)])
def test_a_prediction_counts_where_it_is_shown_to_beat_the_mean(
    folder: Path, tmp_path: Path, verdict: str, is_used: bool
) -> None:
    plan = race_plan(load_study(folder / "study.yaml"), "s")

    def put(table: str, rows: list[dict[str, Any]]) -> None:
        filled = [{name: row.get(name) for name in TABLES[table].filled_columns.names} for row in rows]
        write_part(tmp_path, TABLES[table], filled, study_id=STUDY_ID, run_id=f"{table}-1")

    rows = [prediction("small", 60.0), prediction("middle", 70.0), prediction("small", 1.0, predictor="log10_params")]
    put("performance_predictions", rows)
    numbers = dict.fromkeys(("mae", "reference_mae", "difference", "difference_low", "difference_high"), 1.0)
    own = {name: rows[0][name] for name in ("objective", "target", "predictor", "protocol")}
    put("performance_comparisons", [own | numbers | {"reference": "mean", "n": 9, "verdict": verdict}])
    found = forecasts(tmp_path, plan)
    assert set(found) == {"small", "middle", "other"}
    assert found["other"] == Forecast()
    # 3.289707 is 1.644854 (the normal quantile of 95 %) times 2.
    assert found["middle"].mean == (70.0 if is_used else None)
    assert found["middle"].sd == (pytest.approx(2.0, abs=1e-6) if is_used else None)

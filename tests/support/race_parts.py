"""A race over a made census as rows and parts of the raw tables, for tests of the marts and the report. Synthetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models_train.jobs.race_census import census_work, peer_rows
from models_train.jobs.race_records import RaceRecord, Row
from models_train.parts import write_part
from models_train.race.race import Race
from models_train.race.replay import Census
from models_train.race.rules import Look, Work
from models_train.race.simulation import World, simulated
from models_train.store import Parts
from warehouse.contracts import TABLES

RACE_ID = "race-1"
WORLD = World(n_candidates=6, rungs=(100, 200, 400, 800), n_items=(100, 200, 400, 400), rates=(1e-4, 1e-3))
_DEVICE = {"device": "cpu", "n_devices": 1, "is_gpu": False, "peak_memory_bytes": None, "versions": "{}"}


@dataclass(frozen=True)
class MadeRace:
    """A race at its end, its census, and the rows of its tables. looks: in the order of the race."""

    race: Race
    census: Census
    looks: list[Row]
    tables: dict[str, list[Row]]


def made_race(seed: int = 3, *, with_census: bool = False, objective: str = "bradley_terry") -> MadeRace:
    """A race over a simulated census; with_census: with the looks beyond the race, and its peers."""
    census, _ = simulated(WORLD, seed)
    rules = census.rules(objective=objective, draws=500)
    race, told = Race(census.candidates, rules), list[Work]()
    while batch := race.next():
        for work in batch:
            race.tell(census.look(work))
            told.append(work)
    n_of_race = len(told)
    if with_census:
        told += [work for one in census_work(census.candidates, rules) for work in one if work not in told]
    looks = [_look_row(census.look(work), work, objective) for work in told]
    record = RaceRecord(RACE_ID, rules, "mine", len(census.candidates), "40M")
    answers = [record.answer(race.answer), *(peer_rows(census, record, race.answer.tokens) if with_census else [])]
    tables = {
        "race_looks": looks,
        "race_entries": record.entries(looks, n_of_race),
        "race_decisions": record.decisions(race.decisions),
        "race_answers": answers,
    }
    return MadeRace(race, census, looks, tables)


def write_race(parts: Parts, study_id: str, made: MadeRace) -> None:
    """The parts of a race, and of its base models."""
    for name, rows in made.tables.items():
        for number, some in enumerate([[row] for row in rows] if name == "race_looks" else [rows]):
            write_part(parts, TABLES[name], some, study_id=study_id, run_id=f"{RACE_ID}-{number}")
    models = [_base_model(one.model_id, one.params_b) for one in made.census.candidates]
    write_part(parts, TABLES["base_models"], models, study_id=study_id, run_id="models")


def _base_model(model_id: str, params_b: float) -> Row:
    known: dict[str, Any] = {"model_id": model_id, "params_b": params_b, "hub_id": model_id, "publisher": "nobody"}
    known |= {"family": "made", "stage": "base", "is_compared": True, "is_candidate": False}
    return {name: known.get(name) for name in TABLES["base_models"].filled_columns.names}


def _look_row(look: Look, work: Work, objective: str) -> Row:
    return {
        "look_id": f"{look.model_id}-{look.learning_rate:g}-{look.n_examples}",
        "model_id": look.model_id,
        "objective": objective,
        "benchmark": "mine",
        "learning_rate": look.learning_rate,
        "seed": 0,
        "n_examples": look.n_examples,
        "n_steps": look.n_examples // 10,
        "n_tokens": look.n_tokens,
        "n_item_tokens": look.n_items_tokens,
        "n_items": work.n_items,
        "outcomes": "".join(str(int(2 * one)) for one in look.won),
        "accuracy": float(look.won.mean()),
        "train_loss": look.train_loss,
        "failure": look.failure,
        "training_seconds": look.device_seconds,
        "device_seconds": look.device_seconds,
    } | _DEVICE

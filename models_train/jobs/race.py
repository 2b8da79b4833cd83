"""Race the base models of a study: which one to train a reward model on, found for less than training all of them.

`models_train.race` decides what is looked at and who is dropped; this job trains, scores (`race_looks`) and writes.
Each look is a part before the race goes on: a killed race reads the same looks again, and ends as an undisturbed one.
At the end come the parts of its looks in order, its costs per base model, its decisions and its answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from models_train.data.sources import data_of
from models_train.errors import UserError
from models_train.files import remove, write_text
from models_train.jobs.command_line import run_job
from models_train.jobs.race_census import census_of, census_work, peer_rows
from models_train.jobs.race_looks import Looks, Row, look_of
from models_train.jobs.race_records import RaceRecord, costs_of, trained_tokens
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import at_commit, locked, study_of
from models_train.parts import is_whole, part_path, part_rows, renew_run, write_part
from models_train.race.race import Race
from models_train.race.rules import Candidate, Decision, RaceRules, Work
from models_train.reward_benchmarks.sets import at_commits
from models_train.reward_models.distributed import Processes, joined
from models_train.store import Place, parts_of
from models_train.study.race_forecasts import Forecast, forecasts
from models_train.study.race_ids import RacePlan, race_cost_run_id, race_cost_variant, race_plan, race_run_id
from models_train.study.study import Study
from warehouse.contracts import TABLES, Table
from warehouse.contracts.races import RACE, RACE_ANSWERS, RACE_DECISIONS, RACE_ENTRIES

JOB = "race"
RUN_COSTS = TABLES["run_costs"]
OF_RACE = (RACE_ENTRIES, RACE_DECISIONS, RACE_ANSWERS)
"""Tables that a finished race has a part in; the last says that all is done."""


def run(path: Path, home: Path, asked: str, report: Reporter) -> dict[str, Any]:
    """Race, as far as it is left; returns figures. asked: settings in place of the study's, as JSON.

    Raises UserError, OSError.
    """
    with joined() as processes:
        if processes.n > 1:
            raise UserError("a race runs on one device: start it without torchrun")
        return RaceJob(_plan(path, home, _settings(asked)), path, home, report, processes).run()


def _settings(asked: str) -> dict[str, Any]:
    try:
        found = json.loads(asked)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"--asked {asked!r} is no JSON object; give settings of the group race, or leave it out")
    return found


def _plan(path: Path, home: Path, asked: Mapping[str, Any]) -> RacePlan:
    """The race of a study file, its models and data at their commits, which are kept. Raises UserError."""
    study = at_commits(study_of(path, home), path, home)
    wanted = race_plan(study, str(path), asked)
    models = {name: at_commit(model, name, path, home) for name, model in wanted.models.items()}
    training = wanted.training
    read = {"preferences": training.preferences}
    if wanted.objective == "regression" and training.ratings is not None:
        read["ratings"] = training.ratings
    training = training.model_copy(update={name: data_of(one, path, home) for name, one in read.items()})
    pinned: dict[str, Any] = {
        name: tuple(models.get(one.model_id, one) for one in getattr(study, name)) for name in ("models", "candidates")
    }
    return race_plan(study.model_copy(update={**pinned, "training": training}), str(path), asked)


class RaceJob:
    """A race of a study. path: the study file."""

    def __init__(self, plan: RacePlan, path: Path, home: Path, report: Reporter, processes: Processes) -> None:
        self.plan, self.path, self.home, self.report = plan, path, home, report
        self.study: Study = plan.study
        self.run_id = race_run_id(plan, path.parent)
        self.looks = Looks(plan, path, home, processes, self._say)
        self._rows: dict[Work, Row] = {}

    def run(self) -> dict[str, Any]:
        """Race, as far as it is left; returns figures."""
        if all(is_whole(self._part(table)) for table in OF_RACE):
            self._say("the race is there; nothing to do")
            for table in OF_RACE:
                renew_run(parts_of(self.home), table.name, self.study.study_id, self.run_id)
            for name in self.plan.candidates:
                for is_of_race in (True, False):
                    renew_run(parts_of(self.home), RUN_COSTS.name, self.study.study_id, self._cost_id(name, is_of_race))
            self._clear()
            return self._figures()
        with locked(self._folder, f"{self.study.study_id}: another process runs this race"):
            race, order = self._raced()
            peers = self._census(race, order) if self.plan.settings.census else []
            self._write(race, order, peers)
        self._clear()
        return self._figures()

    def _clear(self) -> None:
        """Remove the states of all trainings of the race."""
        for name in self.plan.candidates:
            for rate in self.plan.rates:
                self.looks.forget(name, rate)
        remove(self._folder)

    def _say(self, text: str) -> None:
        self.report.say(f"{self.study.study_id}: {text}")

    def _part(self, table: Table) -> Path | Place:
        return part_path(parts_of(self.home), table.name, self.study.study_id, self.run_id)

    @property
    def _folder(self) -> Path:
        return self.home / "training" / "races" / self.run_id

    def _cost_id(self, model_id: str, is_of_race: bool) -> str:
        return race_cost_run_id(self.run_id, model_id, is_of_race)

    @cached_property
    def rules(self) -> RaceRules:
        """The rules, from settings and data."""
        settings, budget, rungs = self.plan.settings, self.plan.budget, self.looks.rungs
        hours = budget is not None and budget.unit == "hours"
        return RaceRules(
            rungs=rungs.n_examples,
            rates=self.plan.rates,
            n_items=rungs.n_items,
            objective=self.plan.objective,
            indifference=settings.indifference,
            confidence=settings.confidence,
            budget=None if budget is None else budget.amount * (3600 if hours else 1),
            unit="device_seconds" if hours else "tokens",
            seed=settings.seed,
        )

    @cached_property
    def record(self) -> RaceRecord:
        """Rows of the race."""
        plan = self.plan
        return RaceRecord(self.run_id, self.rules, plan.benchmark, len(plan.candidates), plan.settings.budget)

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The candidates, with what was known of them when the race began: a race that goes on keeps it."""
        place = self._folder / "forecasts.json"
        if not place.is_file():
            found = forecasts(parts_of(self.home), self.plan)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, json.dumps({name: vars(one) for name, one in found.items()}))
        known = {name: Forecast(**one) for name, one in json.loads(place.read_text()).items()}
        return [self._candidate(name, known[name]) for name in self.plan.candidates]

    def _candidate(self, name: str, known: Forecast) -> Candidate:
        params_b = self.plan.models[name].params_b
        if params_b is None:
            raise UserError(f"{self.path}: {name} states no params_b; add it, or list other candidates under race")
        return Candidate(name, params_b, known.mean, known.sd, known.benchmark)

    def _raced(self) -> tuple[Race, list[Work]]:
        """The race to its end, and its looks in order."""
        candidates, rules = self.candidates, self.rules
        race, order = Race(candidates, rules), list[Work]()
        n_said = 0
        while batch := race.next():
            order += batch
            self._round(batch, rules.rungs)
            for one in batch:
                race.tell(look_of(self._rows[one]))
            for decision in race.decisions[n_said:]:
                self._heed(decision)
            n_said = len(race.decisions)
        self._say(race.answer.text)
        return race, order

    def _round(self, batch: Sequence[Work], rungs: Sequence[int]) -> None:
        """The looks of a round; progress counts training steps, and shows the time left of the round."""
        missing = [one for one in batch if not self.looks.is_there(one)]
        names = sorted({one.model_id for one in batch}, key=self.plan.candidates.index)
        furthest = max(one.n_examples for one in batch)
        self._say(f"{len(batch)} looks at {', '.join(names)}, up to {furthest:,} examples of {rungs[-1]:,}")
        steps = sum(map(self.looks.steps_left, missing))
        with progress(self.report, f"{self.study.study_id}: steps of this round", steps) as counter:
            self.looks.on_step = lambda row: counter.advance(1, row["n_tokens"], f"loss {row['loss']:.4f}")
            for one in batch:
                self._rows[one] = self.looks.row(one)

    def _heed(self, decision: Decision) -> None:
        """Say what was decided, and remove the states of what is dropped."""
        if decision.decision == "keep":
            return
        self._say(f"{decision.model_id}: {decision.decision.replace('_', ' ')}: {decision.reason}")
        if self.plan.settings.census:
            return
        if decision.decision == "drop":
            for rate in self.plan.rates:
                self.looks.forget(decision.model_id, rate)
        elif decision.decision == "drop_rate" and decision.learning_rate is not None:
            self.looks.forget(decision.model_id, decision.learning_rate)

    def _census(self, race: Race, order: list[Work]) -> list[Row]:
        """Train every candidate at every rate to the end, and let the peers choose from these looks; returns their
        answers. The looks are added to `order`."""
        self._say("the census: every base model at every rate to the end, which is counted apart")
        for training in census_work(self.candidates, self.rules):
            for one in training:
                if one not in self._rows:
                    self._round([one], self.rules.rungs)
                    order.append(one)
                if self._rows[one]["failure"] is not None:
                    break
        census = census_of(self._rows, self.candidates, self.rules)
        if census.failed.all(axis=1).any():
            return []  # a base model that cannot be trained has no accuracy to compare
        return peer_rows(census, self.record, race.answer.tokens)

    def _write(self, race: Race, order: Sequence[Work], peers: Sequence[Row]) -> None:
        """Write the parts; the answer comes last."""
        n, looks = race.answer.n_looks, [self._rows[one] for one in order]
        self._put(RACE_ENTRIES, self.record.entries(looks, n), self.run_id)
        for is_of_race, some in ((True, looks[:n]), (False, looks[n:])):
            for name, costs in costs_of(some, {} if is_of_race else trained_tokens(looks[:n])).items():
                variant = race_cost_variant(self.plan.objective, is_of_race)
                self._put(RUN_COSTS, [costs.row(name, JOB, variant)], self._cost_id(name, is_of_race))
        self._put(RACE_DECISIONS, self.record.decisions(race.decisions), self.run_id)
        self._put(RACE_ANSWERS, [self.record.answer(race.answer), *peers], self.run_id)

    def _put(self, table: Table, rows: Sequence[Mapping[str, Any]], run_id: str) -> None:
        write_part(parts_of(self.home), table, rows, study_id=self.study.study_id, run_id=run_id)

    def _figures(self) -> dict[str, Any]:
        (row,) = (row for row in part_rows(self._part(RACE_ANSWERS)) if row["method"] == RACE)
        return {
            "answer": row["answer"],
            "looks": row["n_looks"],
            "tokens trained on": int(row["n_trained_tokens"]),
            "tokens scored": int(row["n_scored_tokens"]),
            "device seconds": round(row["device_seconds"], 1),
        }


main = partial(run_job, JOB)

if __name__ == "__main__":
    main()

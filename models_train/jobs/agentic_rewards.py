"""Check the completions of benchmarks and the responses of policies, and add the checks to rewards of reward models.

A check that does not apply, or that ends otherwise than with a value, has a status and adds nothing; everything is
counted. No program that a model wrote runs here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_train.checks.values import Values, read_values
from models_train.checks.verdict import NOT_APPLICABLE, OK, Verdict
from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.jobs.text_checks import Asked, TextChecks
from models_train.parts import is_whole, part_path, part_rows, renew_run, write_part
from models_train.reward_benchmarks.items import Benchmark
from models_train.reward_benchmarks.sets import at_commits, load_named
from models_train.selection.item_metrics import Items
from models_train.selection.item_statistics import seed_of
from models_train.store import parts_of
from models_train.study.agentic import WeightFit
from models_train.study.agentic_parts import (
    AgenticParts,
    CheckPart,
    On,
    RewardInputs,
    RewardPart,
    WeightPart,
    checks_on,
    rewards_on,
)
from models_train.study.response_parts import prompt_rows, without_text
from models_train.study.reward_ids import source_run_id
from models_train.study.study import Study, load_study
from models_train.teachers.agentic import Fit, fit, scores
from warehouse.contracts import Table
from warehouse.contracts.responses import RESPONSE_KEY, RESPONSES
from warehouse.contracts.scores import AGENTIC_FITS, AGENTIC_WEIGHTS, MERGED, REWARD, REWARD_SOURCES

Rows = list[dict[str, Any]]
Floats = NDArray[np.float64]
ITEM_KEY = ("benchmark", "subset", "item_id", "completion")
NO_SPREAD = "the plain rewards do not vary"
NO_CHOICE = "no item has a plain reward to choose weights by"


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Write each part that is missing; returns figures: `rows`, and results of checks by status. Raises UserError."""
    study = load_study(path, home)
    if study.agentic is None:
        raise UserError(f"{path}: the study {study.study_id} has no rewards with checks; add the group agentic")
    with TextChecks() as texts:
        job = _Job(at_commits(study, path, home), path, home, report, texts)
        for check in job.wanted.checks:
            job.check(check)
    for weights in job.wanted.weights:
        job.weigh(weights)
    rows = sum(len(job.reward(one)) for one in job.wanted.rewards)
    job.write_names()
    return {"rows": rows, **dict(job.statuses.most_common())}


class _Job:
    """Writes the rewards with checks of a study. path: the study file."""

    def __init__(self, study: Study, path: Path, home: Path, report: Reporter, texts: TextChecks) -> None:
        self._study, self._path, self._report, self._checks = study, path, report, texts
        self._parts = parts_of(home)
        self.wanted = AgenticParts(self._parts, study, path.parent)
        self.statuses: Counter[str] = Counter()
        self._benchmarks: dict[str, Benchmark] = {}
        self._values: dict[str, Values] = {}
        self._verdicts: dict[On, dict[str, list[Verdict]]] = {}
        self._texts: dict[On, tuple[list[tuple[Any, ...]], list[Asked]]] = {}
        self._fits: dict[str, Fit] = {}

    def keep(self, table: Table, run_id: str, rows: Callable[[], Rows]) -> Rows:
        """Rows of a part, which is written where it is missing."""
        place = part_path(self._parts, table.name, self._study.study_id, run_id)
        if is_whole(place):
            renew_run(self._parts, table.name, self._study.study_id, run_id)
            return part_rows(place)
        found = rows()
        if found:  # a part of no row has no partition
            write_part(self._parts, table, found, study_id=self._study.study_id, run_id=run_id)
        return found

    def write_names(self) -> None:
        """Write what gives the rewards."""
        for source in self.wanted.sources:
            self.keep(REWARD_SOURCES, source_run_id(source), partial(list, [source]))

    def check(self, part: CheckPart) -> None:
        """Write the results of a check."""
        rows = self.keep(checks_on(part.on), part.run_id, lambda: self._checked(part))
        self.statuses.update(f"{part.check.name}, {row['status'].split(':')[0]}" for row in rows)

    def weigh(self, part: WeightPart) -> None:
        """Write the weights of a reward, and the grid that they were chosen from."""
        own = {"reward_id": part.reward_id, "plain_reward_id": part.reward.reward}
        own["added"] = "all" if part.checks == part.reward.checks else part.checks[0]
        tables = (AGENTIC_WEIGHTS, AGENTIC_FITS) if part.fit is not None else (AGENTIC_WEIGHTS,)
        is_there = all(self._has(table, part.run_id) for table in tables)
        found = None if part.fit is None or is_there else self._fit(part, part.fit)
        weights = dict(zip(part.reward.checks, found.weights, strict=True)) if found else part.reward.weights or {}

        def rows() -> Rows:
            facts = own | _facts(found, self.wanted.fit_benchmark(part.reward), part.reward.fit)
            return [facts | {"check_name": name, "weight": weights[name]} for name in part.checks]

        self.keep(AGENTIC_WEIGHTS, part.run_id, rows)
        if part.fit is not None:
            self.keep(AGENTIC_FITS, part.run_id, lambda: _grid(part, found))

    def reward(self, part: RewardPart) -> Rows:
        """Rows of rewards with checks, which are written where they are missing."""
        return self.keep(rewards_on(part.inputs.on), part.run_id, lambda: self._rewarded(part))

    def _has(self, table: Table, run_id: str) -> bool:
        return is_whole(part_path(self._parts, table.name, self._study.study_id, run_id))

    def _rows_of(self, table: Table, run_id: str) -> Rows:
        return part_rows(part_path(self._parts, table.name, self._study.study_id, run_id))

    def _benchmark(self, name: str) -> Benchmark:
        if name not in self._benchmarks:
            self._benchmarks[name] = load_named(self._study, name, self._path.parent)
        return self._benchmarks[name]

    def _checked(self, part: CheckPart) -> Rows:
        """Rows of the results of a check, by the keys of completions or responses."""
        keys, asked = self._asked(part.on)
        verdicts = self._of_values(part, keys) if part.check.path else self._found(part, asked)
        names = ITEM_KEY if isinstance(part.on, str) else RESPONSE_KEY
        return [
            {"check_name": part.check.name} | dict(zip(names, key, strict=True)) | vars(verdict)
            for key, verdict in zip(keys, verdicts, strict=True)
        ]

    def _found(self, part: CheckPart, asked: Sequence[Asked]) -> list[Verdict]:
        """What a check finds; all missing checks of the same texts are made together."""
        found = self._verdicts.setdefault(part.on, {})
        if part.check.name not in found:
            missing = [
                one.check
                for one in self.wanted.checks
                if one.on == part.on and not one.check.path and not self._has(checks_on(one.on), one.run_id)
            ]
            on = part.on if isinstance(part.on, str) else part.on.name
            self._report.say(f"{on}: {len(asked):,} texts, {', '.join(one.name for one in missing)}")
            found |= self._checks.checked(missing, asked)
            for name in (one.name for one in missing):
                self._say_needs(name, found[name])
        return found[part.check.name]

    def _say_needs(self, name: str, verdicts: Iterable[Verdict]) -> None:
        for status, n in Counter(one.status for one in verdicts if one.status.startswith("needs ")).items():
            self._report.say(
                f"{name}: {n:,} texts are not checked, because the check {status}; to check them once it is there, "
                f"remove the parts of response_checks and completion_checks"
            )

    def _of_values(self, part: CheckPart, keys: Sequence[tuple[Any, ...]]) -> list[Verdict]:
        """Values of a file."""
        place = str(part.check.path)
        if place not in self._values:
            folder = self._path.parent
            self._values[place] = read_values(place, folder, self._study, self._parts, self._benchmark)
        values = self._values[place]
        missing = Verdict(NOT_APPLICABLE, detail="the file has no value of it")
        found: list[float | None] = [
            values.completions.get(key) if isinstance(part.on, str) else values.responses.get((key[0], key[2], key[3]))
            for key in keys
        ]
        return [missing if value is None else Verdict(OK, value) for value in found]

    def _asked(self, on: On) -> tuple[list[tuple[Any, ...]], list[Asked]]:
        """Keys and texts of all completions, or of all responses, read once."""
        if on not in self._texts:
            self._texts[on] = self._read(on)
        return self._texts[on]

    def _read(self, on: On) -> tuple[list[tuple[Any, ...]], list[Asked]]:
        if isinstance(on, str):
            items = self._benchmark(on).items.values()
            cells = [(item, one) for item in items for one in item.completions]
            keys = [(on, item.subset, item.item_id, one.name) for item, one in cells]
            return keys, [Asked(one.text, item.gold_kind, item.gold) for item, one in cells]
        prompts = {row["prompt_id"]: row for row in prompt_rows(self._parts, self._study, on.prompt_set)}
        rows, asked = self._rows_of(RESPONSES, on.run_id), []
        for row in rows:
            prompt = prompts.get(row["prompt_id"], {})
            text = row["text"] if without_text(row) is None else None
            asked.append(Asked(text, prompt.get("gold_kind"), prompt.get("gold"), row["finish_reason"]))
        return [tuple(row[name] for name in RESPONSE_KEY) for row in rows], asked

    def _fit(self, part: WeightPart, inputs: RewardInputs) -> Fit:
        """The weights of all checks of a reward, chosen on a benchmark."""
        if part.reward.name in self._fits:
            return self._fits[part.reward.name]
        settings = part.reward.fit
        assert settings is not None and isinstance(inputs.on, str)
        table = _Cells.of(self._plain(inputs), self._results(inputs), part.reward.checks, ITEM_KEY)
        items = _items(self._benchmark(inputs.on), table)
        seed = seed_of(self._study.study_id, inputs.on)
        found = fit(items, table.rewards, table.checks, settings.grid, settings.share, seed)
        if found is None:
            raise UserError(f"{part.reward_id}: {inputs.on}: {NO_CHOICE}; name another benchmark under fit")
        self._fits[part.reward.name] = found
        return found

    def _rewarded(self, part: RewardPart) -> Rows:
        """Rows of rewards: the plain ones with other values."""
        weights = {row["check_name"]: row["weight"] for row in self._rows_of(AGENTIC_WEIGHTS, part.weights.run_id)}
        names = ITEM_KEY if isinstance(part.inputs.on, str) else RESPONSE_KEY
        checks = part.weights.checks
        plain = self._plain(part.inputs)
        cells = _Cells.of(plain, self._results(part.inputs), checks, names)
        found = scores(cells.rewards, cells.checks, [weights[name] for name in checks])
        columns = rewards_on(part.inputs.on).filled_columns.names
        rows = []
        for row in plain:
            value = float(found[cells.place(row)])
            status = row["status"] if row["status"] != OK or np.isfinite(value) else NO_SPREAD
            own = {"reward_id": part.weights.reward_id, "attribute": REWARD, "status": status}
            own["reward"] = value if status == OK else None
            rows.append({name: row[name] for name in columns} | own)
        return rows

    def _plain(self, inputs: RewardInputs) -> Rows:
        """Rows of the plain reward's attribute that decides."""
        rows = self._rows_of(rewards_on(inputs.on), inputs.plain)
        decides = MERGED if any(row["attribute"] == MERGED for row in rows) else REWARD
        return [row for row in rows if row["attribute"] == decides]

    def _results(self, inputs: RewardInputs) -> Mapping[str, Rows]:
        table = checks_on(inputs.on)
        return {name: self._rows_of(table, run_id) for name, run_id in inputs.checks.items()}


class _Cells:
    """Plain rewards and results of checks as arrays: a row per item or prompt, a column per completion or response.

    rewards: (rows, columns); checks: (checks, rows, columns). NaN for none.
    """

    def __init__(self, names: Sequence[str], rows: Rows) -> None:
        self._names = names
        self.rows = {one: place for place, one in enumerate(dict.fromkeys(self._key(row)[:-1] for row in rows))}
        self.columns = {one: place for place, one in enumerate(sorted({self._key(row)[-1] for row in rows}))}
        self.rewards = np.full((len(self.rows), len(self.columns)), np.nan)
        self.checks = np.empty((0, *self.rewards.shape))

    @classmethod
    def of(cls, plain: Rows, results: Mapping[str, Rows], checks: Sequence[str], names: Sequence[str]) -> _Cells:
        """names: columns of the key, the last one that of completions or responses."""
        cells = cls(names, plain)
        for row in plain:
            if row["status"] == OK and row["reward"] is not None:
                cells.rewards[cells.place(row)] = row["reward"]
        cells.checks = np.full((len(checks), *cells.rewards.shape), np.nan)
        for number, check in enumerate(checks):
            for row in results[check]:
                place = cells.find(row)
                if place is not None and row["status"] == OK:
                    cells.checks[(number, *place)] = row["value"]
        return cells

    def _key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._names)

    def place(self, row: Mapping[str, Any]) -> tuple[int, int]:
        """Row and column of a row of the plain rewards."""
        key = self._key(row)
        return self.rows[key[:-1]], self.columns[key[-1]]

    def find(self, row: Mapping[str, Any]) -> tuple[int, int] | None:
        """The same of any other row; None where there is no plain reward."""
        key = self._key(row)
        return self.place(row) if key[:-1] in self.rows and key[-1] in self.columns else None


def _items(benchmark: Benchmark, cells: _Cells) -> Items:
    """The items of a benchmark in the places of cells; completions without a plain reward are there, too."""
    is_there, is_correct = np.zeros(cells.rewards.shape, bool), np.zeros(cells.rewards.shape, bool)
    for (_, *key), row in cells.rows.items():
        for one in benchmark.items[key[0], key[1]].completions:
            if one.name in cells.columns:
                is_there[row, cells.columns[one.name]] = True
                is_correct[row, cells.columns[one.name]] = one.is_correct
    subsets, ids = (np.array([key[place] for key in cells.rows], object) for place in (1, 2))
    return Items(benchmark.name, subsets, ids, is_there, is_correct)


def _facts(found: Fit | None, benchmark: str | None, settings: WeightFit | None) -> dict[str, Any]:
    """Columns of agentic_weights on how weights were chosen; null for weights that the study states."""
    return {
        "is_fitted": found is not None,
        "fit_benchmark": benchmark if found else None,
        "fit_share": settings.share if found and settings else None,
        "n_fit_items": found.n_items if found else None,
        "accuracy_plain": found.accuracy_plain if found else None,
        "accuracy_chosen": float(found.accuracies[found.chosen]) if found else None,
        "accuracy_choosing_half": found.accuracy_choosing_half if found else None,
        "accuracy_other_half": found.accuracy_other_half if found else None,
        "optimism_points": found.optimism_points if found else None,
    }


def _grid(part: WeightPart, found: Fit | None) -> Rows:
    """Rows of agentic_fits."""
    assert found is not None
    return [
        {
            "reward_id": part.reward_id,
            "point": point,
            "weights": json.dumps(dict(zip(part.reward.checks, weights, strict=True))),
            "accuracy": float(found.accuracies[point]),
            "is_chosen": point == found.chosen,
        }
        for point, weights in enumerate(found.points)
    ]


main = partial(run_job, "agentic_rewards")

if __name__ == "__main__":
    main()

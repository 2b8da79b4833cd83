"""Scoring of reward models on all benchmarks of a study: a part of rewards and one of costs per benchmark.

Where the parts of a benchmark are there, nothing is done for it. An item that cannot be scored has rows with a status
(definitions, Section 1). The items of the test set are written here, unless another reward model did so before; those
of benchmark sets are written by `import_scores`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from models_train.data.chat import Renderer, has_thoughts
from models_train.errors import UserError
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import beside_others
from models_train.metering import default_device, measure
from models_train.parts import part_path, part_rows, renew_run, write_part
from models_train.reward_benchmarks.items import Benchmark, item_tables
from models_train.reward_benchmarks.sets import load_named
from models_train.reward_models.scoring import OK, Scorer, score_items
from models_train.store import Place, parts_of
from models_train.study.fingerprints import items_run_id
from models_train.study.study import Study
from models_train.study.training import Training
from warehouse.contracts import TABLES
from warehouse.contracts.scores import REWARDBENCH

REWARDS, COSTS = "completion_rewards", "run_costs"
ITEMS, COMPLETIONS = "benchmark_items", "item_completions"

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Scored:
    """A reward model to score.

    name: for messages. run_id: its own. run_ids: of its rewards, by benchmark. load: the reward model and its renderer,
    for `loaded`. costs: model_id, job and variant of the costs on a benchmark, or on the responses of a policy.
    thoughts: what becomes of those in completions.
    """

    name: str
    reward_id: str
    run_id: str
    run_ids: Mapping[str, str]
    load: Callable[[], tuple[Scorer, Renderer]]
    costs: Callable[[str], tuple[str, str, str]]
    tokens_per_pack: int | None = None
    thoughts: str = "keep"

    @cached_property
    def loaded(self) -> tuple[Scorer, Renderer]:
        """The reward model and its renderer; loaded once, and only where rewards are missing."""
        return self.load()


@dataclass
class BenchmarkScoring:
    """Scores reward models on the benchmarks of a study, whose data sets are at their commits. path: the study file.

    A benchmark that cannot be scored stops no other: `figures` raises its problem at the end.
    """

    study: Study
    path: Path
    home: Path
    report: Reporter
    rows: Rows = field(default_factory=list)
    problems: list[UserError] = field(default_factory=list)
    _benchmarks: dict[str, Benchmark] = field(default_factory=dict)

    def score(self, one: Scored) -> None:
        """Write the rewards of a reward model on each benchmark where they are missing.

        Raises UserError where it cannot be loaded.
        """
        due = [name for name, run_id in one.run_ids.items() if not self._is_there(run_id)]
        for name, run_id in one.run_ids.items():
            if name not in due:
                self.rows += part_rows(self._part(REWARDS, run_id))
                for table in (REWARDS, COSTS):
                    renew_run(parts_of(self.home), table, self.study.study_id, run_id)
        if due:
            with beside_others(self.home, lambda text: self.report.say(f"{one.name}: {text}")):
                self._score_due(one, due)
        else:
            self.report.say(f"{one.name}: the rewards are there; nothing to do")
        training = self.study.training
        if training is not None and training.test_set is not None and self._is_there(one.run_ids[REWARDBENCH]):
            self._keep_items(training)

    def figures(self) -> dict[str, Any]:
        """Rows, and completions by status. Raises UserError with the problems of all benchmarks."""
        if self.problems:
            raise UserError("\n".join(dict.fromkeys(map(str, self.problems)))) from self.problems[0]
        return _figures(self.rows)

    def _part(self, table: str, run_id: str) -> Path | Place:
        return part_path(parts_of(self.home), table, self.study.study_id, run_id)

    def _is_there(self, run_id: str) -> bool:
        return all(self._part(table, run_id).exists() for table in (REWARDS, COSTS))

    def _benchmark(self, name: str) -> Benchmark:
        """The items of a benchmark, read once for all reward models."""
        if name not in self._benchmarks:
            self._benchmarks[name] = load_named(self.study, name, self.path.parent)
        return self._benchmarks[name]

    def _score_due(self, one: Scored, due: Sequence[str]) -> None:
        loaded = one.loaded
        for name in due:
            try:
                found, costs = self._scored(one, *loaded, self._benchmark(name))
            except UserError as error:
                self.problems.append(error)
                continue
            for table, rows in ((REWARDS, found), (COSTS, [costs])):
                run_id = one.run_ids[name]
                write_part(parts_of(self.home), TABLES[table], rows, study_id=self.study.study_id, run_id=run_id)
            self.rows += found

    def _scored(
        self, one: Scored, reward_model: Scorer, renderer: Renderer, benchmark: Benchmark
    ) -> tuple[Rows, dict[str, Any]]:
        """Rows of completion_rewards, and the row of run_costs. Raises UserError where nothing can be scored."""
        items = list(benchmark.items.values())
        n = sum(len(item.completions) for item in items)
        thoughts = _thoughts(benchmark, one.thoughts)
        self.report.say(f"{one.name}: {benchmark.name}: {len(items):,} items, {n:,} completions{thoughts}")
        for note in benchmark.notes:
            self.report.say(f"{one.name}: {note}")
        with (
            measure(default_device()) as meter,
            progress(self.report, f"{one.name}: {benchmark.name}: completions scored", n) as counter,
        ):

            def advance(n_sequences: int, n_tokens: int) -> None:
                meter.add_tokens(n_tokens)
                counter.advance(n_sequences, n_tokens)

            weights = reward_model.merge_weights
            found = score_items(reward_model, renderer, items, weights, one.tokens_per_pack, advance)
        if all(row["status"] != OK for row in found):
            raise UserError(
                f"{one.name}: none of {n} completions of {benchmark.name} could be scored, so nothing was written; the "
                f"first has the status: {found[0]['status']}"
            )
        return [{"reward_id": one.reward_id, **row} for row in found], meter.costs.row(*one.costs(benchmark.name))

    def _keep_items(self, training: Training) -> None:
        """Write the items of the test set, unless another reward model of the study did."""
        parts, study_id = parts_of(self.home), self.study.study_id
        run_id = items_run_id(training, self.path.parent)
        if all(self._part(table, run_id).exists() for table in (ITEMS, COMPLETIONS)):
            for table in (ITEMS, COMPLETIONS):
                renew_run(parts, table, study_id, run_id)
            return
        for table, found in zip((ITEMS, COMPLETIONS), item_tables(self._benchmark(REWARDBENCH)), strict=True):
            write_part(parts, TABLES[table], found, study_id=study_id, run_id=run_id)


def _thoughts(benchmark: Benchmark, setting: str) -> str:
    """How many completions have thoughts, and what becomes of them; empty where none has."""
    texts = (one.text or "" for item in benchmark.items.values() for one in item.completions)
    n = sum(map(has_thoughts, texts))
    return f"; {n:,} completions with thoughts, {'kept' if setting == 'keep' else 'cut'}" if n else ""


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows, and completions by status; the part of a status after the colon, on its one completion, is left out."""
    key = ("reward_id", "benchmark", "subset", "item_id", "completion")
    completions = {tuple(row[name] for name in key): row["status"] for row in rows}
    by_status = Counter(status.split(":")[0] for status in completions.values())
    figures = {"rows": len(rows), "completions": len(completions)}
    return figures | {f"completions, {status}": n for status, n in by_status.most_common()}

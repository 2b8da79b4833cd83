"""Read the benchmarks of reward models that a study names, and the score files that it lists, and write their parts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.parts import content_hash, is_whole, part_path, remove_parts, renew_run, write_part
from models_train.reward_benchmarks.imports import Imported, import_scores, load_sets, reward_sources
from models_train.reward_benchmarks.items import Benchmark, item_tables
from models_train.reward_benchmarks.sets import at_commits
from models_train.store import Parts, parts_of
from models_train.study.fingerprints import benchmark_set_run_id, items_run_id, reward_import_run_id
from models_train.study.study import Study, load_study
from warehouse.contracts import Table
from warehouse.contracts.scores import (
    BENCHMARK_ITEMS,
    COMPLETION_REWARDS,
    ITEM_COMPLETIONS,
    REWARD_SOURCES,
    REWARDBENCH,
)


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Read all sets and score files of a study, then write their parts; returns figures. Raises UserError, OSError.

    Reading takes seconds, so it is repeated each time; parts that are there stay. Nothing is written unless everything
    is right.
    """
    study = load_study(path, home)
    if not study.benchmark_sets and not study.score_imports:
        raise UserError(
            f"{path}: the study {study.study_id} has no benchmarks of reward models and no score files; list them "
            "under benchmark_sets and score_imports"
        )
    with_test_set = any(one.may_be_of_test_set for one in study.score_imports)
    study = at_commits(study, path, home, with_test_set=with_test_set)
    found = import_scores(study, load_sets(study, path.parent), path.parent)
    for note in (*(note for one in found.sets.values() for note in one.notes), *found.notes):
        report.say(f"{study.study_id}: {note}")
    writer = _Writer(parts_of(home), study.study_id)
    _write_items(writer, study, found, path.parent)
    n_rows = _write_rewards(writer, study, found, path.parent)
    return {
        "rows": n_rows,
        "files": found.n_files,
        "rewards": len({reward_id for reward_id, _ in found.rewards}),
        "benchmarks": len({*found.sets, *found.items}),
    }


class _Writer:
    """Writes the parts of a study that are not there yet."""

    def __init__(self, parts: Parts, study_id: str) -> None:
        self.parts = parts
        self.study_id = study_id

    def put(self, table: Table, rows: pa.Table | list[dict[str, Any]], run_id: str) -> None:
        """Write a part, or see to it that it is the newest of its partition."""
        if is_whole(part_path(self.parts, table.name, self.study_id, run_id)):
            renew_run(self.parts, table.name, self.study_id, run_id)
        else:
            write_part(self.parts, table, rows, study_id=self.study_id, run_id=run_id)


def _write_items(writer: _Writer, study: Study, found: Imported, folder: Path) -> None:
    """Items of the sets, of the test set where scores are on it, and of score files that no set is named for."""
    named = {one.name: benchmark_set_run_id(one, folder) for one in study.benchmark_sets}
    if study.training is not None and study.test_set is not None and REWARDBENCH in found.sets:
        named[REWARDBENCH] = items_run_id(study.training, folder)
    for benchmark in (*found.sets.values(), *found.of_files):
        tables = item_tables(benchmark)
        run_id = named.get(benchmark.name) or _content(benchmark, tables)
        for table, rows in zip((BENCHMARK_ITEMS, ITEM_COMPLETIONS), tables, strict=True):
            writer.put(table, rows, run_id)


def _content(benchmark: Benchmark, tables: tuple[pa.Table, pa.Table]) -> str:
    """Run id of items that only score files state: a hash of their rows."""
    return content_hash([benchmark.name, *(table.to_pylist() for table in tables)])


def _write_rewards(writer: _Writer, study: Study, found: Imported, folder: Path) -> int:
    """Rewards, then their sources, which say that an import is whole; returns the number of rewards."""
    run_ids = {one.reward_id: reward_import_run_id(study, one.reward_id, folder) for one in study.score_imports}
    n_rows = 0
    for reward_id, benchmark in found.rewards:
        rows = found.rows(reward_id, benchmark)
        n_rows += rows.num_rows
        writer.put(COMPLETION_REWARDS, rows, content_hash([run_ids[reward_id], benchmark]))
    for source in reward_sources(study):
        writer.put(REWARD_SOURCES, [source], run_ids[source["reward_id"]])

    def is_stale(partition: Any) -> bool:
        """Rewards on a benchmark that the files of a reward model do not have any more."""
        name = partition["reward_id"]
        return name in run_ids and (name, partition["benchmark"]) not in found.rewards

    remove_parts(writer.parts, COMPLETION_REWARDS.name, writer.study_id, is_stale)
    return n_rows


main = partial(run_job, "import_scores")

if __name__ == "__main__":
    main()

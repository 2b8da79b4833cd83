"""Which GPU jobs are due: a job whose parts are there under the name of its inputs has nothing to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from dagster_project.environment import STUDIES
from dagster_project.lib.partitions import partition_key
from models_train.study.fingerprints import (
    LocationError,
    benchmark_run_id,
    donors,
    evaluation_run_id,
    import_run_id,
    lab_run_id,
    sample_run_id,
    scoring_run_id,
    training_run_id,
)
from models_train.study.hub import is_due
from models_train.study.lab import is_made, lab_folder
from models_train.study.models import StudyModel
from models_train.study.study import Study, load_study
from warehouse.contracts import Table
from warehouse.contracts.lab import LAB_SETTINGS
from warehouse.contracts.studies import BENCHMARK_RESULTS, IMPORTS, run_of
from warehouse.part_files import LandingError, newest_parts
from warehouse.paths import Home

HUB_MODELS = dg.AssetKey(["parts", "hub_models"])
LAB = dg.AssetKey(["parts", "lab"])
REWARD_MODELS = dg.AssetKey(["parts", "reward_models"])
COMPLETION_REWARDS = dg.AssetKey(["parts", "completion_rewards"])
DOCUMENTS = dg.AssetKey(["parts", "documents"])
DOCUMENT_SCORES = dg.AssetKey(["parts", "document_scores"])
BENCHMARKS = dg.AssetKey(["parts", "benchmarks"])
BENCHMARK_IMPORTS = dg.AssetKey(["parts", "benchmark_imports"])


@dataclass(frozen=True)
class Task:
    """One piece of GPU work that is due: the Dagster job, its assets and partition, what it is in words, and the run id
    of the parts that it makes."""

    job: str
    assets: tuple[dg.AssetKey, ...]
    partition: str
    words: str
    makes: str


def study_files(folder: Path = STUDIES) -> dict[Path, Study]:
    """Every study by its file. Raises StudyError."""
    return {path: load_study(path) for path in sorted(folder.glob("*.yaml"))}


def due(
    studies: Mapping[Path, Study], home: Home, *, everything: bool = False, problems: list[str] | None = None
) -> list[Task]:
    """GPU jobs whose parts are not there, reward models first. `everything`: all of them, there or not.

    Where the folder of a model or data set is not there, LocationError is raised; or, where a list `problems` is given,
    its message is put there, and the tasks of the other models are returned.
    """
    newest = _newest(home, BENCHMARK_RESULTS)
    tasks: list[Task] = []
    for models_of, tasks_of in ((_trained, _trainings), (_scored, _scorings), (_benchmarked, _benchmarkings)):
        for path, study in studies.items():
            for model_id in models_of(study):
                cell = _Cell(study, study.by_id[model_id], path.parent, home, newest, everything)
                try:
                    tasks += tasks_of(cell)
                except LocationError as error:
                    if problems is None:
                        raise
                    problems.append(f"{study.study_id}, {model_id}: {error}")
    return tasks


def queries_due(studies: Mapping[Path, Study], home: Home, now: float | None = None) -> bool:
    """True where some study's question to a hub was not answered lately, or not as it stands."""
    return any(is_due(home.root, study.study_id, study.hub, now) for study in studies.values() if study.hub)


def labs_due(studies: Mapping[Path, Study], home: Home) -> bool:
    """True where some study's lab as it stands was not the last that was made, or a model or file of it is gone."""
    newest = _newest(home, LAB_SETTINGS)
    return any(
        newest.get((study.study_id, "")) != lab_run_id(study)
        or not is_made(lab_folder(home.root, study.study_id), study.lab)
        for study in studies.values()
        if study.lab
    )


def samples_due(studies: Mapping[Path, Study], home: Home) -> bool:
    """True where some study's sample of documents is not there. Raises LocationError."""
    return any(
        not _there(home, "documents", study, sample_run_id(study.scoring.corpus, path.parent))
        for path, study in studies.items()
        if study.scoring
    )


def imports_due(studies: Mapping[Path, Study], home: Home) -> bool:
    """True where the newest part of some study's imports is not of its present result files.

    Raises LocationError where a file is not there.
    """
    newest = _newest(home, BENCHMARK_RESULTS)
    return any(
        newest.get((study.study_id, IMPORTS)) != import_run_id(study, path.parent)
        for path, study in studies.items()
        if study.benchmarks and study.benchmarks.imports
    )


@dataclass(frozen=True)
class _Cell:
    """A model of a study, and what says whether work on it is due."""

    study: Study
    model: StudyModel
    folder: Path
    home: Home
    newest: Mapping[tuple[str, str], str]
    everything: bool

    @property
    def key(self) -> str:
        return partition_key(self.study.study_id, self.model.model_id)

    def task(self, job: str, assets: tuple[dg.AssetKey, ...], partition: str, words: str, makes: str) -> Task:
        return Task(job, assets, partition, f"{self.study.study_id}: {words}", makes)


def _trained(study: Study) -> Sequence[str]:
    return study.compared_model_ids if study.training else ()


def _trainings(cell: _Cell) -> Iterator[Task]:
    training, name = cell.study.training, cell.model.model_id
    assert training is not None
    for objective in training.objectives:
        trained = training_run_id(cell.model, training, objective, cell.folder)
        evaluated = evaluation_run_id(cell.model, training, objective, cell.folder)
        retrain = cell.everything or not _there(cell.home, "reward_model_searches", cell.study, trained)
        if retrain or not _there(cell.home, "completion_rewards", cell.study, evaluated):
            key = dg.MultiPartitionKey({"base_model": cell.key, "objective": objective})
            assets = (REWARD_MODELS, COMPLETION_REWARDS) if retrain else (COMPLETION_REWARDS,)
            yield cell.task("train_reward_models", assets, str(key), f"reward model of {name}, {objective}", evaluated)


def _scored(study: Study) -> Sequence[str]:
    return list(dict.fromkeys(donors(study).values())) if study.scoring else ()


def _scorings(cell: _Cell) -> Iterator[Task]:
    assert cell.study.scoring is not None
    run_id = scoring_run_id(cell.model, cell.study.scoring, cell.folder)
    # The costs are written when every shard is done.
    if cell.everything or not _there(cell.home, "run_costs", cell.study, run_id):
        yield cell.task(
            "score_documents", (DOCUMENT_SCORES,), cell.key, f"documents under {cell.model.model_id}", run_id
        )


def _benchmarked(study: Study) -> Sequence[str]:
    return study.benchmarked_model_ids


def _benchmarkings(cell: _Cell) -> Iterator[Task]:
    assert cell.study.benchmarks is not None
    run_id = benchmark_run_id(cell.model, cell.study.benchmarks, cell.folder)
    name = cell.model.model_id
    if cell.everything or cell.newest.get((cell.study.study_id, run_of(name))) != run_id:
        yield cell.task("run_benchmarks", (BENCHMARKS,), cell.key, f"benchmarks of {name}", run_id)


def _newest(home: Home, table: Table) -> dict[tuple[str, str], str]:
    """Run of the newest part of a table, by study and writer ("" in most tables); of none where one cannot be read."""
    try:
        parts = newest_parts(home.parts, table, fitting=True)
    except LandingError:
        return {}  # landing says which file it is
    return {(part.study_id, str(dict(part.partition).get("written_by", ""))): part.run_id for part in parts}


def _there(home: Home, table: str, study: Study, run_id: str) -> bool:
    return (home.parts / table / study.study_id / f"{run_id}.parquet").exists()

"""Which GPU jobs are due: a job whose parts are there under the name of its inputs has nothing to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.environment import STUDIES
from dagster_project.partitions import models_at_work, partition_key
from models_train.config import Study, load_study
from models_train.lab_settings import is_made, lab_folder
from models_train.run_ids import (
    benchmark_run_id,
    donors,
    evaluation_run_id,
    import_run_id,
    lab_run_id,
    sample_run_id,
    scoring_run_id,
    training_run_id,
)
from models_train.settings import Objective
from warehouse.contracts import Table
from warehouse.contracts.lab import LAB_SETTINGS
from warehouse.contracts.studies import BENCHMARK_RESULTS, IMPORTS, run_of
from warehouse.home import Home
from warehouse.part_files import LandingError, newest_parts

LAB = dg.AssetKey(["parts", "lab"])
REWARD_MODELS = dg.AssetKey(["parts", "reward_models"])
COMPLETION_REWARDS = dg.AssetKey(["parts", "completion_rewards"])
DOCUMENTS = dg.AssetKey(["parts", "documents"])
DOCUMENT_SCORES = dg.AssetKey(["parts", "document_scores"])
BENCHMARKS = dg.AssetKey(["parts", "benchmarks"])
BENCHMARK_IMPORTS = dg.AssetKey(["parts", "benchmark_imports"])
FAILURE, ASSET_KEY = "failure", "asset_key"
"""What jobs and assets call the message of a failure, and the extra that says what a job makes."""


@dataclass(frozen=True)
class Task:
    """One piece of GPU work that is due: the Dagster job, its assets and partition, and what it is in words."""

    job: str
    assets: tuple[dg.AssetKey, ...]
    partition: str
    words: str


def study_files(folder: Path = STUDIES) -> dict[Path, Study]:
    """Every study by its file. Raises StudyError."""
    return {path: load_study(path) for path in sorted(folder.glob("*.yaml"))}


def due(studies: Mapping[Path, Study], home: Home, *, everything: bool = False) -> list[Task]:
    """GPU jobs whose parts are not there, reward models first. `everything`: all of them, there or not.

    Raises LocationError where the folder of a model or data set is not there.
    """
    return [
        *_trainings(studies, home, everything),
        *_scorings(studies, home, everything),
        *_benchmarkings(studies, home, everything),
    ]


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


def job_command(name: str, path: Path, home: Home, model: str | None = None, *more: str) -> list[str]:
    """Command line of a job in `models_train.jobs` for a study file and one of its models."""
    command = [sys.executable, "-m", f"models_train.jobs.{name}", "--study", str(path), "--home", str(home.root)]
    return [*command, *(["--model", model] if model is not None else []), *more]


def run_job(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    command: list[str],
    key: dg.AssetKey | None = None,
) -> dg.PipesClientCompletedInvocation:
    """Run a job and hand on what it reports; `key`: which asset it makes, where the step makes several.

    Raises dagster.Failure with the job's own words where it stopped.
    """
    extras = {ASSET_KEY: key.to_escaped_user_string()} if key is not None else {}
    done = pipes.run(command=command, context=context, extras=extras)
    for message in done.get_custom_messages():
        raise dg.Failure(description=message[FAILURE], allow_retries=False)
    return done


def run_for_studies(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    home: Home,
    key: dg.AssetKey,
    job: str,
    paths: Sequence[Path],
) -> dg.MaterializeResult:
    """Run a job for every study file; what it made is the asset `key`, with the rows that the job reported."""
    done = (run_job(context, pipes, job_command(job, path, home), key) for path in paths)
    rows = sum(_row_count(one.get_materialize_result(implicit_materialization=False)) for one in done)
    return dg.MaterializeResult(asset_key=key, metadata={"dagster/row_count": rows, "studies": len(paths)})


def _row_count(result: dg.MaterializeResult) -> int:
    """Rows that a job reported, as Dagster hands the value back or as the job gave it."""
    value: Any = (result.metadata or {}).get("rows", 0)
    return int(getattr(value, "value", value))


def model_of(studies: Mapping[Path, Study], key: str) -> tuple[Path, Study, str]:
    """Study file, study and model of a partition key. Raises dagster.Failure for one that no study file has."""
    for path, study in studies.items():
        model = models_at_work(study).get(key)
        if model is not None:
            return path, study, model
    text = f"{key}: no study file names this model any more; materialize parts/studies, and the partition goes"
    raise dg.Failure(description=text, allow_retries=False)


def _trainings(studies: Mapping[Path, Study], home: Home, everything: bool) -> Iterator[Task]:
    for path, study in studies.items():
        for model in study.models if study.training else ():
            if study.training and model.is_compared:
                for objective in study.training.objectives:
                    trained = _there(
                        home,
                        "reward_model_searches",
                        study,
                        training_run_id(model, study.training, objective, path.parent),
                    )
                    evaluated = _there(
                        home,
                        "completion_rewards",
                        study,
                        evaluation_run_id(model, study.training, objective, path.parent),
                    )
                    if everything or not (trained and evaluated):
                        yield _training(study, model.model_id, objective, retrain=everything or not trained)


def _training(study: Study, model_id: str, objective: Objective, retrain: bool) -> Task:
    key = dg.MultiPartitionKey({"base_model": partition_key(study.study_id, model_id), "objective": objective})
    assets = (REWARD_MODELS, COMPLETION_REWARDS) if retrain else (COMPLETION_REWARDS,)
    return Task("train_reward_models", assets, str(key), f"{study.study_id}: reward model of {model_id}, {objective}")


def _scorings(studies: Mapping[Path, Study], home: Home, everything: bool) -> Iterator[Task]:
    for path, study in studies.items():
        if study.scoring is None:
            continue
        models = study.by_id
        for name in dict.fromkeys(donors(study).values()):
            # The costs are written when every shard is done.
            done = _there(home, "run_costs", study, scoring_run_id(models[name], study.scoring, path.parent))
            if everything or not done:
                yield Task(
                    "score_documents",
                    (DOCUMENT_SCORES,),
                    partition_key(study.study_id, name),
                    f"{study.study_id}: documents under {name}",
                )


def _benchmarkings(studies: Mapping[Path, Study], home: Home, everything: bool) -> Iterator[Task]:
    newest = _newest(home, BENCHMARK_RESULTS)
    for path, study in studies.items():
        models = study.by_id
        for name in study.benchmarked_model_ids:
            assert study.benchmarks is not None
            run_id = benchmark_run_id(models[name], study.benchmarks, path.parent)
            if everything or newest.get((study.study_id, run_of(name))) != run_id:
                yield Task(
                    "run_benchmarks",
                    (BENCHMARKS,),
                    partition_key(study.study_id, name),
                    f"{study.study_id}: benchmarks of {name}",
                )


def _newest(home: Home, table: Table) -> dict[tuple[str, str], str]:
    """Run of the newest part of a table, by study and writer ("" in most tables); of none where one cannot be read."""
    try:
        parts = newest_parts(home.parts, table, fitting=True)
    except LandingError:
        return {}  # landing says which file it is
    return {(part.study_id, str(dict(part.partition).get("written_by", ""))): part.run_id for part in parts}


def _there(home: Home, table: str, study: Study, run_id: str) -> bool:
    return (home.parts / table / study.study_id / f"{run_id}.parquet").exists()

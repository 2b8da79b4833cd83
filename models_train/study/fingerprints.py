"""Run ids: hashes of the model revision, data and settings of a result. Torch-free.

Dagster compares them with the parts on disk, and a job writes its parts under them: no work is done twice. A model or
data set lies on a hub, with its revision as its identity, or in a local folder, with the hash of its content.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from models_train.errors import UserError
from models_train.files import files_below, sha256
from models_train.parts import content_hash
from models_train.study.benchmarks import Benchmark, Benchmarks
from models_train.study.lab import LAB_VERSION
from models_train.study.models import StudyModel
from models_train.study.reward_benchmarks import BenchmarkSet, ScoredRewardModel
from models_train.study.scoring import Corpus, Engine, Scoring
from models_train.study.settings import Objective
from models_train.study.study import Study
from models_train.study.training import DataSource, Training
from warehouse.contracts.scores import REWARDBENCH

TRAINING_VERSION = 2
"""Version of training and evaluation; a change of their results raises it, and everything is trained again."""
ITEMS_VERSION = 1
"""Version of the rows of a test set's items; a change of them raises it, and nothing is scored again."""
SCORED_VERSION = 1
"""Version of the scoring of reward models of a hub or folder; a change of its results raises it."""
SAMPLE_VERSION = 1
"""Version of the sampling of documents; a change of its results raises it."""
SCORING_VERSION = 2
"""Version of document scoring; a change of its results raises it."""
BENCHMARK_VERSION = 1
"""Version of benchmark runs; a change of their results raises it."""
BENCHMARK_ROWS_VERSION = 2
"""Version of the rows made of these results; raising it reads the kept results again, and runs no model."""
IMPORT_VERSION = 3
"""Version of the imports of result files; a change of their results raises it. Reading them again takes seconds."""

LEADERBOARD_VERSION = 1
"""Version of the imports of leaderboards; a change of their results raises it."""

SCORE_IMPORT_VERSION = 1
"""Version of the imports of score files and benchmark sets; a change of their rows raises it."""


class LocationError(UserError):
    """A folder or file of a study is not there. The message names it and the remedy."""


def resolve(path: str, study_folder: Path) -> Path:
    """The path with `~` and variables filled in, relative to the study file's folder.

    Raises LocationError where it is not there, or where a variable is not set.
    """
    filled = os.path.expandvars(os.path.expanduser(path))
    if "$" in filled:
        raise LocationError(f"{path}: the variable in it is not set; set it, or write the path out")
    found = (study_folder / filled).resolve()
    if not found.exists():
        raise LocationError(f"{path}: there is no {found}; correct the path in the study file")
    return found


def content_of(path: Path) -> str:
    """SHA-256, hexadecimal, over names and contents of a file or of all files of a folder.

    Linked folders count (`files_below`), hidden files and folders do not. Unchanged files are read once per process.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        state = file.stat()
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        digest.update(f"{name}\0{_of_file(str(file), state.st_mtime_ns, state.st_size)}\0".encode())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    yield from (file for file in files_below(path) if file.is_file())


@lru_cache(maxsize=4096)
def _of_file(path: str, changed_ns: int, size: int) -> str:
    return sha256(path)


def model_identity(model: StudyModel, study_folder: Path) -> dict[str, Any]:
    """Hub id and revision, or the content of the folder; raises LocationError where that is not there."""
    if model.is_local:
        return {"content": content_of(resolve(model.hub_id, study_folder))}
    return {"hub_id": model.hub_id, "revision": model.revision}


def data_identity(source: DataSource | None, study_folder: Path) -> dict[str, Any] | None:
    """Hub id and revision of a data set, or the content of its files."""
    if source is None:
        return None
    if source.path is not None:
        return {"content": content_of(resolve(source.path, study_folder))}
    return {"hub_id": source.hub_id, "revision": source.revision}


def source_name(source: DataSource, study_folder: Path) -> str:
    """A data set with its commit, or a file or folder with the first digits of its content's hash."""
    if source.path is not None:
        path = resolve(source.path, study_folder)
        return f"{path.name}@{content_of(path)[:12]}"
    return f"{source.hub_id}@{source.revision}"


def lab_run_id(study: Study) -> str:
    """Run id of a study's lab and of the parts of its truth. Raises ValueError for a study without a lab."""
    if study.lab is None:
        raise ValueError(f"{study.study_id}: has no lab; only a study with a group `lab` has one")
    made = {spec.model_id for spec in study.lab.models}
    stages = {model.model_id: [model.stage, model.parent] for model in study.models if model.model_id in made}
    return content_hash({"version": LAB_VERSION, "lab": study.lab, "stages": stages})


def training_run_id(model: StudyModel, training: Training, objective: Objective, study_folder: Path) -> str:
    """Run id of the reward model of a base model and objective, and of the parts of its search.

    The test set is no part of it: evaluation does not change a reward model.
    """
    # Ids from before this setting stay.
    thoughts = {"thoughts": training.thoughts} if training.thoughts != "keep" else {}
    return content_hash(
        {
            **thoughts,
            "version": TRAINING_VERSION,
            "model": model_identity(model, study_folder),
            "objective": objective,
            "recipe": training.recipe(objective),
            "search": training.search,
            "precision": training.precision,
            "preferences": data_identity(training.preferences, study_folder),
            "ratings": data_identity(training.ratings, study_folder) if objective == "regression" else None,
        }
    )


def seed_run_id(training_id: str, seed: int | None) -> str:
    """Run id of the reward model of a further seed. training_id: of the search; it is that of its own reward model."""
    return training_id if seed is None else content_hash({"training": training_id, "seed": seed})


def evaluation_run_id(
    model: StudyModel, training: Training, objective: Objective, study_folder: Path, seed: int | None = None
) -> str:
    """Run id of the rewards of a reward model on the test set. seed: a further one."""
    trained = seed_run_id(training_run_id(model, training, objective, study_folder), seed)
    return _on_test_set(trained, training.test_set, study_folder)


def evaluation_run_ids(reward_model: str, study: Study, study_folder: Path) -> dict[str, str]:
    """Run ids of the rewards of a reward model on every benchmark of the study, by the benchmark's name.

    reward_model: its own run id.
    """
    found = {}
    if study.test_set is not None:
        found[REWARDBENCH] = _on_test_set(reward_model, study.test_set, study_folder)
    for one in study.benchmark_sets:
        found[one.name] = content_hash({"training": reward_model, "set": benchmark_set_run_id(one, study_folder)})
    return found


def trained_run_ids(study: Study, model: StudyModel, objective: Objective, study_folder: Path) -> dict[int | None, str]:
    """Run ids of the reward models of a base model and objective, by further seed; None: that of the search."""
    assert study.training is not None
    first = training_run_id(model, study.training, objective, study_folder)
    return {seed: seed_run_id(first, seed) for seed in (None, *study.training.further_seeds(model.model_id))}


def scored_run_id(one: ScoredRewardModel, study_folder: Path) -> str:
    """Run id of a reward model of a hub or folder, from what its rewards depend on."""
    place = {"hub_id": one.hub_id, "revision": one.revision}
    if one.path is not None:
        place = {"content": content_of(resolve(one.path, study_folder))}
    settings = one.model_dump(include={"reward_id", "remote_code", "merge_weights", "precision", "max_tokens"})
    return content_hash({"version": SCORED_VERSION, "model": place, "settings": settings})


def _on_test_set(reward_model: str, test_set: DataSource | None, study_folder: Path) -> str:
    return content_hash({"training": reward_model, "test_set": data_identity(test_set, study_folder)})


def items_run_id(training: Training, study_folder: Path) -> str:
    """Run id of the items of the test set, which all reward models of a study share; other benchmarks have that of
    `benchmark_set_run_id`."""
    return content_hash({"version": ITEMS_VERSION, "test_set": data_identity(training.test_set, study_folder)})


def sample_run_id(corpus: Corpus, study_folder: Path) -> str:
    """Run id of the sample of documents of a corpus."""
    return content_hash(
        {
            "version": SAMPLE_VERSION,
            "corpus": corpus.model_dump(exclude={"source"}),
            "source": data_identity(corpus.source, study_folder),
        }
    )


def scoring_run_id(model: StudyModel, scoring: Scoring, study_folder: Path, engine: Engine | None = None) -> str:
    """Run id of the scores of a corpus under a model by an engine; the part of a shard is `<run id>-<shard>`.

    engine: one of `scoring.engines`, by default the first. The setting `auto` has no run id of its own: which engine
    it is depends on the machine, and scores of either are what the study asks for.
    """
    settings = scoring.model_dump(exclude={"corpus", "share_within_family", "fixed_bins"})
    return content_hash(
        {
            "version": SCORING_VERSION,
            "model": model_identity(model, study_folder),
            "sample": sample_run_id(scoring.corpus, study_folder),
            "scoring": settings | {"engine": engine or scoring.engines[0]},
        }
    )


def benchmark_run_id(model: StudyModel, benchmarks: Benchmarks, study_folder: Path) -> str:
    """Run id of the benchmarks run on a model; the model's name is part of it."""
    return content_hash(
        {
            "version": [BENCHMARK_VERSION, BENCHMARK_ROWS_VERSION],
            "model_id": model.model_id,
            "model": model_identity(model, study_folder),
            "precision": benchmarks.precision,
            "batch_size": benchmarks.batch_size,
            "tasks": [_task_identity(task, study_folder) for task in benchmarks.to_run],
        }
    )


def task_results_id(model: StudyModel, benchmarks: Benchmarks, tasks: Sequence[Benchmark], study_folder: Path) -> str:
    """Id of lm_eval's results of some tasks on a model, with all their metrics."""
    return content_hash(
        {
            "version": BENCHMARK_VERSION,
            "model": model_identity(model, study_folder),
            "precision": benchmarks.precision,
            "batch_size": benchmarks.batch_size,
            "tasks": sorted({task.lm_eval_task for task in tasks}),
            "settings": [_task_settings(task, study_folder) for task in tasks[:1]],
        }
    )


def import_run_id(study: Study, study_folder: Path) -> str:
    """Run id of the study's imports of result files, from the files and the study's models."""
    benchmarks = study.benchmarks or Benchmarks()
    return content_hash(
        {
            "version": IMPORT_VERSION,
            "tasks": benchmarks.tasks,
            "imports": benchmarks.imports,
            "files": [content_of(resolve(one.path, study_folder)) for one in benchmarks.imports],
            "models": [[model.model_id, model.hub_id, model.revision] for model in (*study.models, *study.candidates)],
        }
    )


def leaderboards_run_id(study: Study, study_folder: Path) -> str:
    """Run id of the study's imports of leaderboards, from the files."""
    return content_hash(
        {
            "version": LEADERBOARD_VERSION,
            "leaderboards": [
                one.model_dump(exclude={"path"}) | {"files": content_of(resolve(one.path, study_folder))}
                for one in study.leaderboards
            ],
        }
    )


def benchmark_set_run_id(one: BenchmarkSet, study_folder: Path) -> str:
    """Run id of the items of a benchmark of reward models."""
    settings = one.model_dump(include={"name", "kind", "split"})
    return content_hash(
        {"version": SCORE_IMPORT_VERSION, "settings": settings, "data": data_identity(one, study_folder)}
    )


def reward_import_run_id(study: Study, reward_id: str, study_folder: Path) -> str:
    """Run id of the imported scores of a reward model, from its files and from the sets that they are matched with."""
    entries = [one for one in study.score_imports if one.reward_id == reward_id]
    bases = {one.base_model for one in entries}
    test_set = study.test_set if any(one.may_be_of_test_set for one in entries) else None
    models = [model for model in study.by_id.values() if bases & {model.model_id, model.hub_id}]
    return content_hash(
        {
            "version": SCORE_IMPORT_VERSION,
            "sets": [benchmark_set_run_id(one, study_folder) for one in study.benchmark_sets],
            "test_set": data_identity(test_set, study_folder),
            "imports": [one.model_dump(exclude={"path"}) for one in entries],
            "files": [content_of(resolve(one.path, study_folder)) for one in entries],
            "models": [[model.model_id, model.hub_id, model.family, model.params_b] for model in models],
        }
    )


def score_imports_run_id(study: Study, study_folder: Path) -> str:
    """Run id of everything that a study imports of reward models."""
    rewards = dict.fromkeys(one.reward_id for one in study.score_imports)
    return content_hash(
        {
            "sets": [benchmark_set_run_id(one, study_folder) for one in study.benchmark_sets],
            "rewards": [reward_import_run_id(study, reward_id, study_folder) for reward_id in rewards],
        }
    )


def _task_identity(task: Benchmark, study_folder: Path) -> dict[str, Any]:
    """Settings and files that a task's value depends on."""
    return task.model_dump(exclude={"folder", "topic", "run"}) | _task_settings(task, study_folder)


def _task_settings(task: Benchmark, study_folder: Path) -> dict[str, Any]:
    """Settings that the tasks of a run share; the content of their folder instead of its name."""
    files = content_of(resolve(task.folder, study_folder)) if task.folder else None
    return {"few_shot": task.few_shot, "limit": task.limit, "files": files}


def donors(study: Study) -> dict[str, str]:
    """Donor of each compared model, and of each that a lab pre-trains: the model whose document scores are used for it
    (definitions, Section 7).

    Models of one family with the same number of pre-training tokens share those of the largest; of equally large ones
    the base model's, then those of the first in the file. Where `tokens_t` or `params_b` is not stated in the study
    file, or the study's scoring does not share, a model is its own donor.
    """
    made = {spec.model_id for spec in study.lab.models if spec.mix} if study.lab else set()
    models = [model for model in study.by_id.values() if model.is_compared or model.model_id in made]
    if study.scoring is None or not study.scoring.share_within_family:
        return {model.model_id: model.model_id for model in models}
    donor: dict[tuple[str, float], StudyModel] = {}
    for model in models:
        if _has_figures(model):
            known = donor.setdefault((model.family, model.tokens_t or 0.0), model)
            if _weight(model) > _weight(known):
                donor[model.family, model.tokens_t or 0.0] = model
    return {
        model.model_id: (donor[model.family, model.tokens_t or 0.0] if _has_figures(model) else model).model_id
        for model in models
    }


def _has_figures(model: StudyModel) -> bool:
    return model.tokens_t is not None and model.params_b is not None


def _weight(model: StudyModel) -> tuple[float, bool]:
    return model.params_b or 0.0, model.stage == "base"

"""One base model and objective of a study: its settings, and where its files are below the run-time folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path

from models_train.data.sources import data_of
from models_train.errors import UserError, close_match
from models_train.modeling.hub_snapshots import HubModel
from models_train.parts import part_path
from models_train.store import Place, parts_of
from models_train.study.fingerprints import seed_run_id, training_run_id
from models_train.study.lab_record import is_made
from models_train.study.models import StudyModel
from models_train.study.revisions import Stated, is_pinned, keep_commit
from models_train.study.scoring import Scoring
from models_train.study.settings import Objective
from models_train.study.study import Study, load_study
from models_train.study.training import Training


@dataclass(frozen=True)
class TrainingJob:
    """A base model and objective of a study. home: the run-time folder. seed: of a further reward model, at the rate
    that the search chose; None for the search and its own."""

    path: Path
    study: Study
    model: StudyModel
    training: Training
    objective: Objective
    home: Path
    run_id: str
    seed: int | None = None

    def of_seed(self, seed: int) -> TrainingJob:
        """The job of a further reward model; `at_rate` has its training."""
        return replace(self, run_id=seed_run_id(self.run_id, seed), seed=seed)

    @property
    def study_folder(self) -> Path:
        """Folder that relative paths of the study file start from."""
        return self.path.parent

    @property
    def name(self) -> str:
        """Model, objective and further seed, for messages."""
        return f"{self.model.model_id}, {self.objective}" + ("" if self.seed is None else f", seed {self.seed}")

    @property
    def reward_model(self) -> Path:
        """Folder of the saved reward model."""
        return self.home / "reward_models" / self.run_id

    @property
    def working_folder(self) -> Path:
        """Folder of the training runs during the search."""
        return self.home / "training" / self.run_id

    def part(self, table: str) -> Path | Place:
        """The search's part of a table."""
        return part_path(parts_of(self.home), table, self.study.study_id, self.run_id)

    def locked(self) -> AbstractContextManager[None]:
        """Exclude other processes from this search. Raises UserError where another process holds it."""
        return locked(self.working_folder, f"{self.name}: another process trains this reward model")


@contextmanager
def locked(working_folder: Path, other: str) -> Iterator[None]:
    """Exclude other processes from a run; the kernel releases the lock however the process ends.

    working_folder: of the run. other: what another process does. Raises UserError where another process holds it.
    """
    folder = working_folder.parent / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / working_folder.name).open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{other} right now; wait for it, or end it") from None
        yield


@contextmanager
def beside_others(home: Path, say: Callable[[str], None], alone: bool = False) -> Iterator[None]:
    """Work with a model beside other jobs of the home, or alone where all of the machine's memory is needed.

    Waits, and says so, while a job at work leaves no room for that.
    """
    (home / "training").mkdir(parents=True, exist_ok=True)
    with (home / "training" / ".memory").open("a") as file:
        kind = LOCK_EX if alone else LOCK_SH
        try:
            flock(file, kind | LOCK_NB)
        except BlockingIOError:
            say(
                "needs the memory that other jobs have; waiting for them to end"
                if alone
                else "waiting for another job to end, which needs all of the memory"
            )
            flock(file, kind)
        yield


def training_job(path: Path, model_id: str, objective: Objective, home: Path) -> TrainingJob:
    """The training of a base model by an objective, as a study file states it.

    Raises UserError where the study is wrong, or does not train this model by this objective.
    """
    study = study_of(path, home)
    if study.training is None:
        raise UserError(f"{path}: the study {study.study_id} trains no reward models; add a group `training` to it")
    if objective not in study.training.objectives:
        trained = ", ".join(study.training.objectives)
        raise UserError(f"{path}: the study trains {trained}, not {objective}; add it to training.objectives")
    model = model_of(study, path, model_id, home)
    read = {"preferences": study.training.preferences}
    if objective == "regression" and study.training.ratings is not None:
        read["ratings"] = study.training.ratings
    training = study.training.model_copy(update={name: data_of(one, path, home) for name, one in read.items()})
    run_id = training_run_id(model, training, objective, path.parent)
    return TrainingJob(path, study, model, training, objective, home, run_id)


def study_of(path: Path, home: Path) -> Study:
    """The study of a file. Raises UserError where it is wrong, or has a lab that is not there as the file says."""
    study = load_study(path, home)
    if study.lab is not None and not is_made(home, study):
        raise UserError(
            f"{path}: the lab of the study {study.study_id} is not made, or not to its end; run `make run`, or "
            f"`python -m models_train.jobs make_lab --study {path} --home {home}`, then this again"
        )
    return study


def scoring_of(study: Study, path: Path) -> Scoring:
    """The scoring of a study. path: the study file. Raises UserError for a study that scores no documents."""
    if study.scoring is None:
        raise UserError(f"{path}: the study {study.study_id} scores no documents; add a group `scoring` to it")
    return study.scoring


def model_of(study: Study, path: Path, model_id: str, home: Path) -> StudyModel:
    """The model or candidate of a study by name; its revision is resolved to a commit, which is kept.

    path: the study file. Raises UserError where the model is not listed, or the hub does not know the revision.
    """
    models = study.by_id
    if model_id not in models:
        hint = close_match(model_id, models, "listed are", most=len(models))
        raise UserError(f"{path}: the study has no model {model_id!r}; {hint}")
    return at_commit(models[model_id], model_id, path, home)


def at_commit(stated: Stated, name: str, path: Path, home: Path) -> Stated:
    """A model or reward model of a study at the commit of its revision, which is kept. path: the study file.

    Raises UserError where the hub does not know the revision.
    """
    if is_pinned(stated):
        return stated
    commit = HubModel(name, str(stated.hub_id), stated.revision, path.parent).commit()
    return keep_commit(home, stated, commit)

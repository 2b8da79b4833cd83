"""One base model and objective of a study: its settings, and where its files are below the run-time folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from models_train.study.fingerprints import training_run_id
from models_train.study.models import StudyModel
from models_train.study.settings import Objective
from models_train.study.study import Study, load_study
from models_train.study.training import Training


class CellError(RuntimeError):
    """A job cannot run for a base model and objective. The message says what is missing and what to do."""


@dataclass(frozen=True)
class Cell:
    """A base model and objective of a study. home: the run-time folder."""

    path: Path
    study: Study
    model: StudyModel
    training: Training
    objective: Objective
    home: Path
    run_id: str

    @property
    def study_folder(self) -> Path:
        """Where relative paths of the study file begin."""
        return self.path.parent

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.model.model_id}, {self.objective}"

    @property
    def reward_model(self) -> Path:
        """Folder of the saved reward model."""
        return self.home / "reward_models" / self.run_id

    @property
    def working_folder(self) -> Path:
        """Folder of the training runs while the search is at work."""
        return self.home / "training" / self.run_id

    def part(self, table: str) -> Path:
        """The search's part of a table."""
        return self.home / "parts" / table / self.study.study_id / f"{self.run_id}.parquet"


def cell_of(path: Path, model_id: str, objective: Objective, home: Path) -> Cell:
    """The cell of a study file. Raises StudyError, LocationError; CellError where the study does not have it."""
    study = load_study(path, home)
    if study.training is None:
        raise CellError(f"{path}: the study {study.study_id} trains no reward models; add a group `training` to it")
    if objective not in study.training.objectives:
        listed = ", ".join(study.training.objectives)
        raise CellError(f"{path}: the study trains {listed}, not {objective}; add it to training.objectives")
    model = model_of(study, path, model_id)
    run_id = training_run_id(model, study.training, objective, path.parent)
    return Cell(path, study, model, study.training, objective, home, run_id)


def model_of(study: Study, path: Path, model_id: str) -> StudyModel:
    """The model or candidate of a study by name. path: the study file. Raises CellError where it is not listed."""
    models = study.by_id
    if model_id not in models:
        near = get_close_matches(model_id, models, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"listed are {', '.join(models)}"
        raise CellError(f"{path}: the study has no model {model_id!r}; {hint}")
    return models[model_id]


@contextmanager
def alone(cell: Cell) -> Iterator[None]:
    """Keep other processes out of the cell's search; the lock goes with the process, however it ends.

    Raises CellError where another process has it.
    """
    folder = cell.home / "training" / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / cell.run_id).open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            raise CellError(
                f"{cell.name}: another process trains this reward model right now; wait for it, or end it"
            ) from None
        yield

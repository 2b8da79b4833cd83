"""The folder of a training run: what is trained, what happened, the newest state and the best weights.

Kept on disk: the newest saved state (at the end only its step), and the weights of the best checkpoint so far. Every
file appears complete or not at all, a new one before an old one goes, and the journal is on the disk before the state
that it leads to. So at any moment the newest complete state and the journal up to its step are a run that can go on;
what was done after it is done again, with the same result.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from models_train.reward_models.distributed import Processes
from models_train.reward_models.memory import MemoryPlan
from models_train.reward_models.model import RewardModel
from models_train.reward_models.objectives import Example, TokenRating
from models_train.reward_models.search import Evaluation
from models_train.reward_models.tensor_files import flush_folder, read_metadata, write_tensors
from models_train.reward_models.training_log import Journal
from models_train.reward_models.training_state import Sources, TrainingState
from models_train.study.settings import Objective
from models_train.study.training import Recipe

SAVING_SHARE = 0.1
"""A state is saved at a checkpoint once saving would take at most this share of the time since the last one."""
_STATE, _WEIGHTS, _SETTINGS, _JOURNAL = "state", "weights", "run.json", "journal.jsonl"


class RunFolderError(RuntimeError):
    """A folder that a run cannot go on in. The message names it, what is wrong and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """An evaluated step. evaluation: what `evaluate` returned. has_weights: its weights are still on disk."""

    step: int
    evaluation: Mapping[str, Any]
    has_weights: bool

    @property
    def standing(self) -> Evaluation:
        """As the search compares it."""
        return Evaluation(self.step, *(self.evaluation[key] for key in ("n_won", "n_pairs", "loss")))


def data_hash(examples: Sequence[Example]) -> str:
    """Hash of examples as rendered for a model: of their token ids, and of their attributes."""
    found = hashlib.sha256()
    for example in examples:
        for ids in example.sequences:
            found.update(len(ids).to_bytes(8, "little"))
            found.update(np.asarray(ids, dtype="<i8").tobytes())
        if isinstance(example, TokenRating):
            found.update(np.asarray(example.attributes, dtype="<f8").tobytes())
    return found.hexdigest()[:16]


def run_settings(
    objective: Objective, recipe: Recipe, learning_rate: float, seed: int, plan: MemoryPlan, examples: Sequence[Example]
) -> dict[str, Any]:
    """What a run is: equal settings make equal loss curves. As JSON reads it back."""
    settings = {
        "objective": objective,
        "recipe": recipe.model_dump(mode="json", exclude={"learning_rates"}),
        "learning_rate": learning_rate,
        "seed": seed,
        "precision": plan.precision,
        "optimizer": plan.optimizer,
        "data_hash": data_hash(examples),
        "n_examples": len(examples),
    }
    return dict(json.loads(json.dumps(settings)))


class RunFolder:
    """Files of one run. Under torchrun the first process writes, the others read what it wrote."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], processes: Processes) -> None:
        self.path = folder
        self._processes = processes
        if processes.is_first:
            folder.mkdir(parents=True, exist_ok=True)
            _claim(folder / _SETTINGS, settings)
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
        processes.wait()
        self._begin()

    def reopen(self) -> None:
        """Stand where the saved state stands."""
        self._begin()

    def _begin(self) -> None:
        self.journal = Journal(self.path / _JOURNAL, writes=self._processes.is_first)
        self.step = self._newest_state()
        self._saved_at = time.perf_counter()
        self._saving_seconds = 0.0
        if len(self.journal.rows("step", self.step)) < self.step:
            raise RunFolderError(
                f"{self.path}: {_JOURNAL} lacks steps before {self.step}, where the saved state stands; "
                "remove the folder, and the run begins anew"
            )

    @property
    def failure(self) -> str | None:
        """Why the run cannot go on from where it stands; None where it can."""
        failures = [event for event in self.journal.events if event["event"] == "failure"]
        return str(failures[-1]["reason"]) if failures else None

    def took_step(self, row: Mapping[str, Any]) -> None:
        """Note a step."""
        self.journal.write("step", row)
        self.step = int(row["step"])

    def fail(self, reason: str) -> None:
        """Note that the run cannot go on."""
        self.journal.write("failure", {"step": self.step, "reason": reason})
        self.journal.flush()

    def checkpoints(self) -> list[Checkpoint]:
        """Every evaluated step up to where the run stands, ascending."""
        return [
            Checkpoint(row["step"], row["evaluation"], self._file(_WEIGHTS, row["step"]).exists())
            for row in self.journal.rows("checkpoint", self.step)
        ]

    def add_checkpoint(
        self, state: TrainingState, evaluation: Mapping[str, Any], costs: Mapping[str, Any], *, is_last: bool
    ) -> None:
        """Note an evaluation; keep the weights where it is the best so far; save the state where it is time to."""
        self.journal.write("checkpoint", {"step": self.step, "evaluation": dict(evaluation), **costs})
        best = self.best()
        if best is not None and best.step == self.step:
            self._write(_WEIGHTS, state.weight_sources())
        self.save_state(None if is_last else state, at_once=is_last)
        self._remove(_WEIGHTS, all_but=None if best is None else best.step)

    def best(self) -> Checkpoint | None:
        """The best checkpoint so far."""
        return min(self.checkpoints(), key=lambda checkpoint: checkpoint.standing.order, default=None)

    def save_state(self, state: TrainingState | None, *, at_once: bool) -> None:
        """Save what a later process needs to go on, and remove the state before.

        state: None where nothing goes on from here; then only the step is kept. at_once: even if saving is not due.
        """
        began = time.perf_counter()
        due = self._saving_seconds <= SAVING_SHARE * (began - self._saved_at)
        if self._file(_STATE, self.step).exists() or not self._all_agree(at_once or due):
            return
        self.journal.flush()
        self._write(_STATE, {} if state is None else state.sources())
        self._remove(_STATE, all_but=self.step)
        self._saved_at = time.perf_counter()
        self._saving_seconds = self._saved_at - began

    def load_state(self, state: TrainingState) -> None:
        """Put a model where the run stands."""
        if self.step == 0:
            return
        try:
            state.load(self._file(_STATE, self.step), self.step)
        except (KeyError, RuntimeError) as error:
            raise RunFolderError(
                f"{self.path}: the state of step {self.step} does not fit the model ({error}); the base model has "
                "changed: remove the folder, and the run begins anew"
            ) from error

    @torch.no_grad()
    def load_best(self, model: RewardModel) -> None:
        """Put the best checkpoint's weights into a model, in the precision that they were saved in."""
        best = self.best()
        if best is None or not best.has_weights:
            raise RunFolderError(f"{self.path} holds no checkpoint; train to one first")
        with safe_open(self._file(_WEIGHTS, best.step), "pt") as file:
            for name, weight in model.classifier.named_parameters():
                weight.data = file.get_tensor(name).to(weight.device)

    def _write(self, kind: str, sources: Sources) -> None:
        if self._processes.is_first:
            write_tensors(self._file(kind, self.step), sources, {"step": str(self.step)})
        else:
            for _, _, source in sources.values():
                source()
        self._processes.wait()

    def _newest_state(self) -> int:
        """Step of the newest complete state, 0 without one; a torn file is not looked at twice."""
        for path in sorted(self.path.glob(f"{_STATE}-*.safetensors"), reverse=True):
            metadata = read_metadata(path)
            if metadata is not None:
                return int(metadata["step"])
        return 0

    def _all_agree(self, wish: bool) -> bool:
        """Clocks differ: the first process decides for all."""
        wished = torch.tensor(float(wish and self._processes.is_first), device=self._processes.device)
        return bool(self._processes.total(wished) > 0)

    def _file(self, kind: str, step: int) -> Path:
        return self.path / f"{kind}-{step:08d}.safetensors"

    def _remove(self, kind: str, all_but: int | None) -> None:
        if self._processes.is_first:
            for path in self.path.glob(f"{kind}-*.safetensors"):
                if all_but is None or path != self._file(kind, all_but):
                    path.unlink()
        self._processes.wait()


def _claim(path: Path, settings: Mapping[str, Any]) -> None:
    """Write what the folder is for, or check that it is for this."""
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        other = sorted(key for key in {**there, **settings} if there.get(key) != settings.get(key))
        if other:
            raise RunFolderError(
                f"{path.parent} holds another run: {', '.join(other)} differ; choose another folder, or remove this one"
            )
        return
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(settings, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    flush_folder(path.parent)

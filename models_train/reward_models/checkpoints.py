"""The folder of a training run: its settings, its log, the newest state and the best weights.

State and weights are folders of `torch.distributed.checkpoint` in safetensors files (its default format holds a
pickle): every process writes its shards, and a later run with another number of processes reads the parts that it
needs. Kept on disk: the newest saved state (at the end only its step), and the weights of the best checkpoint so far.
Every folder appears complete or not at all, a new one before an old one is removed, and the log is on disk before the
state that it leads to. So at any moment the newest complete state and the log up to its step are a run that can go on;
later steps are repeated, with the same result.

The log is only appended to. A run that was killed repeats the steps after its last saved state; they are logged again
and the later line counts. The earlier line stays, because its seconds were spent.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed.checkpoint as dcp
from safetensors import SafetensorError

from models_train.errors import UserError, first_line
from models_train.files import flush, remove, write_text
from models_train.reward_models.data import Example, data_hash
from models_train.reward_models.distributed import Processes
from models_train.reward_models.memory import MemoryPlan
from models_train.reward_models.model import RewardModel
from models_train.reward_models.validation import Evaluation
from models_train.study.settings import Objective
from models_train.study.training import Recipe

SAVING_SHARE = 0.1
"""A state is saved at a checkpoint once saving would take at most this share of the time since the last one."""
_STATE, _WEIGHTS, _SETTINGS, _LOG = "state", "weights", "run.json", "journal.jsonl"
_FILE_BYTES = 1 << 30
"""Least bytes of a file before the next one begins: writing holds a file twice in the host's memory."""

Tensors = Mapping[str, torch.Tensor]
"""Tensors by name, whole ones or each process's share as a DTensor."""


class State(Protocol):
    """A model in training as its folder saves it."""

    def state_tensors(self) -> Tensors:
        """Everything that a later process needs to go on."""

    def weight_tensors(self) -> Tensors:
        """The weights that the model computes with."""

    def load(self, folder: Path, step: int) -> None:
        """Take over a saved state."""


@dataclass(frozen=True)
class Checkpoint:
    """An evaluated step. evaluation: what `evaluate` returned. has_weights: its weights are still on disk."""

    step: int
    evaluation: Mapping[str, Any]
    has_weights: bool

    @property
    def standing(self) -> Evaluation:
        """The evaluation that the search compares."""
        return Evaluation(self.step, *(self.evaluation[key] for key in ("n_won", "n_pairs", "loss")))


def run_settings(
    objective: Objective, recipe: Recipe, learning_rate: float, seed: int, plan: MemoryPlan, examples: Sequence[Example]
) -> dict[str, Any]:
    """Settings that define a run: equal ones make equal loss curves. As JSON reads them back."""
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


def saved_step(folder: Path) -> int:
    """Step of the newest complete state of a run, 0 without one; damaged ones are passed over. folder: of the run."""
    for state in sorted(folder.glob(f"{_STATE}-*"), reverse=True):
        if is_readable(state):
            return int(state.name.removeprefix(f"{_STATE}-"))
    return 0


class RunFolder:
    """Files of one run. Under torchrun the first process writes, the others read the same files."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], processes: Processes) -> None:
        self.path = folder
        self._processes = processes
        if processes.is_first:
            folder.mkdir(parents=True, exist_ok=True)
            _claim(folder / _SETTINGS, settings)
            for leftover in folder.glob(".*.tmp"):
                remove(leftover)
        processes.wait()
        self.reopen()

    def reopen(self) -> None:
        """Go back to the step of the saved state."""
        self.log = TrainingLog(self.path / _LOG, writes=self._processes.is_first)
        self.step = saved_step(self.path)
        self._saved_at = time.perf_counter()
        self._saving_seconds = 0.0
        if len(self.log.rows("step", self.step)) < self.step:
            raise UserError(
                f"{self.path}: {_LOG} lacks steps before {self.step}, the step of the saved state; "
                "remove the folder, and the run begins again"
            )

    @property
    def failure(self) -> str | None:
        """Reason for which the run cannot go on; None where it can."""
        failures = [event for event in self.log.events if event["event"] == "failure"]
        return str(failures[-1]["reason"]) if failures else None

    def took_step(self, row: Mapping[str, Any]) -> None:
        """Log a step."""
        self.log.write("step", row)
        self.step = int(row["step"])

    def fail(self, reason: str) -> None:
        """Log that the run cannot go on."""
        self.log.write("failure", {"step": self.step, "reason": reason})
        self.log.flush()

    def checkpoints(self) -> list[Checkpoint]:
        """Every evaluated step up to the current one, ascending."""
        return [
            Checkpoint(row["step"], row["evaluation"], self._folder(_WEIGHTS, row["step"]).exists())
            for row in self.log.rows("checkpoint", self.step)
        ]

    def add_checkpoint(
        self, state: State, evaluation: Mapping[str, Any], costs: Mapping[str, Any], *, is_last: bool
    ) -> None:
        """Log an evaluation; keep the weights of the best one so far; save the state if that is due."""
        self.log.write("checkpoint", {"step": self.step, "evaluation": dict(evaluation), **costs})
        best = self.best()
        if best is not None and best.step == self.step:
            self._write(_WEIGHTS, state.weight_tensors())
        self.save_state(None if is_last else state, at_once=is_last)
        self._remove(_WEIGHTS, all_but=None if best is None else best.step)

    def best(self) -> Checkpoint | None:
        """The best checkpoint so far."""
        return min(self.checkpoints(), key=lambda checkpoint: checkpoint.standing.order, default=None)

    def save_state(self, state: State | None, *, at_once: bool) -> None:
        """Save everything that a later process needs to go on, and remove the earlier state.

        state: None where nothing goes on from here; then only the step is kept. at_once: even if saving is not due.
        """
        began = time.perf_counter()
        due = self._saving_seconds <= SAVING_SHARE * (began - self._saved_at)
        if self._folder(_STATE, self.step).exists() or not self._all_agree(at_once or due):
            return
        self.log.flush()
        self._write(_STATE, {} if state is None else state.state_tensors())
        self._remove(_STATE, all_but=self.step)
        self._saved_at = time.perf_counter()
        self._saving_seconds = self._saved_at - began

    def load_state(self, state: State) -> None:
        """Load the saved state into a model."""
        if self.step == 0:
            return
        try:
            state.load(self._folder(_STATE, self.step), self.step)
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"{self.path}: the state of step {self.step} does not fit the model ({first_line(error)}); the base "
                "model has changed: remove the folder, and the run begins again"
            ) from error

    @torch.no_grad()
    def load_best(self, model: RewardModel) -> None:
        """Put the best checkpoint's weights into a model, in the precision that they were saved in."""
        best = self.best()
        if best is None or not best.has_weights:
            raise UserError(f"{self.path} holds no checkpoint; train to one first")
        saved = read_tensors(self._folder(_WEIGHTS, best.step))
        for name, weight in model.classifier.named_parameters():
            weight.data = saved[name].to(weight.device)

    def _write(self, kind: str, tensors: Tensors) -> None:
        folder = self._folder(kind, self.step)
        beside = folder.with_name(f".{folder.name}.tmp")
        if self._processes.is_first:
            beside.mkdir()
        self._processes.wait()
        write_tensors(beside, tensors, self._processes)
        self._processes.wait()
        if self._processes.is_first:
            flush(beside)
            self._discard(folder)
            os.rename(beside, folder)
            flush(self.path)
        self._processes.wait()

    def _all_agree(self, wish: bool) -> bool:
        """Clocks differ: the first process decides for all."""
        wished = torch.tensor(float(wish and self._processes.is_first), device=self._processes.device)
        return bool(self._processes.total(wished) > 0)

    def _folder(self, kind: str, step: int) -> Path:
        return self.path / f"{kind}-{step:08d}"

    def _remove(self, kind: str, all_but: int | None) -> None:
        if self._processes.is_first:
            for folder in self.path.glob(f"{kind}-*"):
                if all_but is None or folder != self._folder(kind, all_but):
                    self._discard(folder)
        self._processes.wait()

    def _discard(self, folder: Path) -> None:
        """Remove a folder under another name, so that a kill leaves no half of it; nothing where it is not there."""
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old.tmp")
            os.rename(folder, old)
            remove(old)


class TrainingLog:
    """Events of a run in one JSONL file. Every event has `event`; those of a step have `step`."""

    def __init__(self, path: Path, writes: bool = True) -> None:
        """writes: False in the processes of a sharded run other than the first."""
        self._path = path
        self._writes = writes
        self.events, length = _whole_lines(path)
        if writes and path.exists() and path.stat().st_size > length:
            os.truncate(path, length)

    def write(self, event: str, row: Mapping[str, Any]) -> None:
        """Append one event. Raises ValueError for NaN and infinity, which JSON cannot hold."""
        entry = {"event": event, **row}
        line = json.dumps(entry, allow_nan=False)
        if self._writes:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        self.events.append(json.loads(line))

    def flush(self) -> None:
        """Make everything written outlive a loss of power; a killed process loses nothing anyway."""
        if self._writes and self._path.exists():
            with self._path.open("a") as file:
                os.fsync(file.fileno())

    def rows(self, event: str, up_to_step: int) -> list[dict[str, Any]]:
        """The latest event of a kind for each step up to one, ascending, without the key `event`."""
        latest = {entry["step"]: entry for entry in self.events if entry["event"] == event}
        return [
            {key: value for key, value in latest[step].items() if key != "event"}
            for step in sorted(latest)
            if step <= up_to_step
        ]

    def total(self, key: str) -> float:
        """Sum of a number over all events that have it, repeated ones too."""
        return sum(entry.get(key, 0) for entry in self.events)

    def largest(self, key: str) -> Any:
        """Largest value of a key over all events; None where none has it."""
        return max((entry[key] for entry in self.events if entry.get(key) is not None), default=None)


def write_tensors(folder: Path, tensors: Tensors, processes: Processes) -> None:
    """Write tensors as safetensors files, flushed to disk; of a DTensor every process writes its share.

    All processes call this together, with the same names in the same order.
    """
    if not tensors:
        return
    ends = accumulate(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    files = {name: 1 + end // _FILE_BYTES for name, end in zip(tensors, ends, strict=True)}
    writer = dcp.HuggingFaceStorageWriter(str(folder), files, save_distributed=True)
    with _plain_errors():
        dcp.save(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            storage_writer=writer,
            no_dist=processes.n == 1,
        )


def load_tensors(folder: Path, tensors: Tensors, processes: Processes) -> None:
    """Fill tensors with those of a folder, in place; of a DTensor every process reads its share.

    Raises RuntimeError or ValueError where the folder lacks one, or has it in another shape.
    """
    with _plain_errors():
        dcp.load(dict(tensors), storage_reader=dcp.HuggingFaceStorageReader(str(folder)), no_dist=processes.n == 1)


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder, whole and on the CPU; for one process by itself."""
    saved: dict[str, Any] = dcp.HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    tensors = {name: torch.empty(one.size, dtype=one.properties.dtype) for name, one in saved.items()}
    load_tensors(folder, tensors, Processes(0, 1, torch.device("cpu")))
    return tensors


def is_readable(folder: Path) -> bool:
    """False where a file of the folder is torn, or no safetensors file."""
    try:
        dcp.HuggingFaceStorageReader(str(folder)).read_metadata()
    except (SafetensorError, OSError):
        return False
    return True


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Raise an error itself, not PyTorch's collection of all processes' errors; no warning about a single process."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            yield
    except dcp.CheckpointException as error:
        cause, _ = next(iter(error.failures.values()))
        raise cause from error


def _claim(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of the run, or check that the folder is of this run."""
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        other = sorted(key for key in {**there, **settings} if there.get(key) != settings.get(key))
        if other:
            raise UserError(
                f"{path.parent} holds another run: {', '.join(other)} differ; choose another folder, or remove this one"
            )
        return
    write_text(path, json.dumps(settings, indent=1, sort_keys=True))


def _whole_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """All events up to the first line that a kill or a loss of power cut off or blanked, and their bytes."""
    events: list[dict[str, Any]] = []
    length = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        try:
            events.append(json.loads(line))
        except ValueError:
            break
        if not line.endswith(b"\n"):
            return events[:-1], length
        length += len(line)
    return events, length

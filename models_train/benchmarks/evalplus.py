"""Result files of EvalPlus: pass@1 on HumanEval and MBPP, by the base tests and by the further ones (+).

Shapes: `<model>_<backend>_temp_<t>[._]eval_results.json`, which `evalplus.evaluate` writes, of one model and data set;
and the leaderboard's `results.json`, with `pass@1` in percent of many models. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_train.benchmarks.results import HIGHEST, MeasuredModel, group, percent
from models_train.errors import UserError
from models_train.study.benchmarks import EVALPLUS

PASSED = ("pass", "success")
"""Status of a solution that passed; EvalPlus before 0.2 wrote the second."""
_ENDING = re.compile(r"[._]?eval_results\.json")
_RUN_NAME = re.compile(r"(?P<model>.+?)_(?P<backend>[A-Za-z0-9]+)_temp_[0-9.]+.*")
_TEMPERATURE = re.compile(r"_temp_([0-9]+(?:\.[0-9]+)?)")
_NAMELESS = re.compile(r"(samples\S*?[._])?eval_results\.json")
"""Files that are named by their folder: `evalplus.evaluate --samples samples.jsonl`, and EvalPlus 0.1."""
N_TASKS = {"humaneval": (164,), "mbpp": (378, 399)}
"""Tasks of each data set, the current version first; MBPP+ 0.1 had 399."""
PIPELINE = "EvalPlus"
"""Pipeline of greedy answers to all tasks, by the name of the leaderboard's values in the seed `benchmark_results`."""
QUANTISED_BACKENDS = ("gptqmodel", "ollama")
_TOLERANCE = 0.01
"""Largest difference of a stated pass@1 from the one counted in the file, in points."""
_DATASETS = {"HumanEval": "humaneval", "Mbpp": "mbpp"}
"""Data set by the first part of a task id, such as `HumanEval/0`."""


@dataclass(frozen=True)
class PassRate:
    """pass@1 of a model, 0 to 100, on a benchmark of Table 2. where: the file and key.

    models: names that the file may know the model by, the likeliest first. differences: how the value departs from the
    benchmark, greedy answers on all its tasks, or what of that the file does not state. pipeline: EvalPlus, and what of
    the differences is known.
    """

    models: tuple[MeasuredModel, ...]
    benchmark: str
    value: float
    where: str
    n_examples: int | None = None
    differences: tuple[str, ...] = ()
    pipeline: str = PIPELINE


def pass_rates(document: Mapping[str, Any], path: Path, where: str) -> Iterator[PassRate]:
    """Values of a result file of either shape. where: name of the file in messages. Raises UserError."""
    if "eval" in document:
        yield from _of_run(document, path, where)
    elif document and all(isinstance(one, Mapping) and _is_summary(one) for one in document.values()):
        yield from _of_summary(document, where)
    else:
        raise UserError(
            f"{where}: has neither the key 'eval' (a result file of evalplus.evaluate) nor pass@1 by model; "
            "it is no result file of EvalPlus: take it out of the import"
        )


def _of_run(document: Mapping[str, Any], path: Path, where: str) -> Iterator[PassRate]:
    solutions = group(document, "eval", where)
    dataset = _dataset(solutions, where)
    stated = group(document, "pass_at_k", where) if "pass_at_k" in document else None
    found = []
    for benchmark, (of, tests) in EVALPLUS.items():
        if of != dataset or (stated is not None and tests not in stated):
            continue
        key, counted = f"{where}: eval, {tests}", _counted(solutions, tests, where)
        value = None if counted is None else percent(counted, 1.0, key)
        if stated is not None:
            key = f"{where}: pass_at_k.{tests}.pass@1"
            said = group(stated, tests, f"{where}: pass_at_k").get("pass@1")
            value = _agreed(percent(said, 1.0, key), value, key)
        if value is not None:
            found.append((benchmark, value, key))
    models, differences = _models(path, where), _differences(path, solutions, dataset, where)
    for benchmark, value, key in found:
        pipeline = "; ".join((PIPELINE, *differences))
        yield PassRate(models, benchmark, value, key, len(solutions), differences, pipeline)


def _agreed(stated: float, counted: float | None, where: str) -> float:
    if counted is not None and abs(stated - counted) > _TOLERANCE:
        raise UserError(
            f"{where} is {stated:g} %, but {counted:g} % of the solutions in the file passed; evaluate again"
        )
    return stated


def _models(path: Path, where: str) -> tuple[MeasuredModel, ...]:
    """The model by the file's name, with `--` for `/` of a hub id; of a nameless file by the folders that it is in."""
    ending = _ENDING.search(path.name)
    if ending is None:
        raise UserError(f"{where}: its name does not end with eval_results.json, so the model is not known; rename it")
    own = path.name[: ending.start()]
    stems = [own]
    if _NAMELESS.fullmatch(path.name):
        folders = [name for name in reversed(Path(where).parent.parts) if name not in (".", "..", *N_TASKS)]
        stems = [*(folders or [path.parent.name]), *([own] if own else [])]
    found: dict[MeasuredModel, None] = {}
    for stem in stems:
        run = _RUN_NAME.fullmatch(stem)
        form = f"backend {run['backend']}" if run and run["backend"] in QUANTISED_BACKENDS else None
        # EvalPlus 0.1 wrote no backend, so a part of the name may look like one.
        names = (run["model"] if run else stem, stem, _TEMPERATURE.split(stem)[0])
        found |= {MeasuredModel(name.replace("--", "/"), form=form): None for name in names}
    return tuple(found)


def _differences(path: Path, solutions: Mapping[str, Any], dataset: str, where: str) -> tuple[str, ...]:
    """Raises UserError for a part of the tasks."""
    current, *older = N_TASKS[dataset]
    n = len(solutions)
    if n != current and n not in older:
        raise UserError(
            f"{where}: eval has {n} of the {current} tasks of {dataset}; evaluate all of them, or take the file out of "
            "the import"
        )
    found = [] if n == current else [f"{n} tasks of an older version of the data set, which has {current} now"]
    temperature = _TEMPERATURE.search(f"{path.parent.name}/{path.name}")
    if any(_n_solutions(one) > 1 for one in solutions.values()) or (temperature and float(temperature[1]) > 0):
        found.append("answers were sampled, not greedy")
    return tuple(found)


def _n_solutions(of_task: Any) -> int:
    if isinstance(of_task, Mapping):  # before EvalPlus 0.2
        return of_task["nfiles"] if isinstance(of_task.get("nfiles"), int) else 1
    return len(of_task) if isinstance(of_task, Sequence) else 1


def _dataset(solutions: Mapping[str, Any], where: str) -> str:
    kinds = {str(task_id).split("/")[0] for task_id in solutions}
    if len(kinds) != 1 or not kinds <= _DATASETS.keys():
        shown = ", ".join(sorted(kinds)[:3]) or "none"
        raise UserError(f"{where}: eval has tasks of {shown}; HumanEval or Mbpp is wanted, one of them")
    return _DATASETS[kinds.pop()]


def _counted(solutions: Mapping[str, Any], tests: str, where: str) -> float | None:
    """Mean over the tasks of the share of solutions that passed; None where these tests were not run."""
    shares = []
    for task_id, of_task in solutions.items():
        at = f"{where}: eval.{task_id}"
        read = _passed_before_0_2 if isinstance(of_task, Mapping) else _passed
        passed = read(of_task, tests, at)
        if passed is None:
            return None
        shares.append(sum(passed) / len(passed))
    return sum(shares) / len(shares)


def _passed(of_task: Any, tests: str, where: str) -> list[bool] | None:
    """Which solutions of a task passed, from `[{base_status, plus_status}, ...]`. The + counts both kinds of tests."""
    if not isinstance(of_task, Sequence) or not of_task or not all(isinstance(one, Mapping) for one in of_task):
        raise UserError(f"{where} is no list of solutions; the file is damaged, or none was sampled")
    if tests == "plus" and any(one.get("plus_status") is None for one in of_task):
        return None
    if any("base_status" not in one for one in of_task):
        raise UserError(f"{where}: base_status is missing; the file is damaged: evaluate again")
    wanted = ("base_status",) if tests == "base" else ("base_status", "plus_status")
    return [all(one[key] in PASSED for key in wanted) for one in of_task]


def _passed_before_0_2(of_task: Mapping[str, Any], tests: str, where: str) -> list[bool] | None:
    """The same from `{nfiles, base: [[status, details], ...], plus: [...]}`."""
    kinds = {kind: of_task.get(kind) for kind in ("base", "plus")}
    if tests == "plus" and not kinds["plus"]:
        return None
    wanted = ("base",) if tests == "base" else ("base", "plus")
    try:
        rows = [[solution[0] in PASSED for solution in kinds[kind] or ()] for kind in wanted]
        passed = [all(row) for row in zip(*rows, strict=True)]
    except (TypeError, IndexError, KeyError, ValueError):
        passed = []
    if not passed:
        raise UserError(f"{where}: {' and '.join(wanted)} hold no statuses; the file is damaged: evaluate again")
    return passed


def _is_summary(entry: Mapping[str, Any]) -> bool:
    return any(isinstance(entry.get(key), Mapping) for key in ("pass@1", "pass@1_base", "pass@1_plus"))


def _of_summary(document: Mapping[str, Any], where: str) -> Iterator[PassRate]:
    for model, entry in document.items():
        for benchmark, (dataset, tests) in EVALPLUS.items():
            for key, name in (("pass@1", benchmark.lower()), (f"pass@1_{tests}", dataset)):
                values = entry.get(key)
                value = values.get(name) if isinstance(values, Mapping) else None
                if value is not None:
                    at = f"{where}: {model}.{key}.{name}"
                    percents = percent(value, HIGHEST, at)
                    unknown = ("the file does not state on how many tasks",)
                    yield PassRate((MeasuredModel(str(model)),), benchmark, percents, at, differences=unknown)

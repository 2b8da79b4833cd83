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

from models_train.benchmarks.results import HIGHEST, group, percent
from models_train.errors import UserError
from models_train.study.benchmarks import EVALPLUS

PASSED = ("pass", "success")
"""Status of a solution that passed; EvalPlus before 0.2 wrote the second."""
_RUN_NAME = re.compile(r"(?P<model>.+?)(_[A-Za-z0-9]+_temp_[0-9.]+.*?)?[._]eval_results\.json")
_DATASETS = {"HumanEval": "humaneval", "Mbpp": "mbpp"}
"""Data set by the first part of a task id, such as `HumanEval/0`."""


@dataclass(frozen=True)
class PassRate:
    """pass@1 of a model, 0 to 100, on a benchmark of Table 2. where: the file and key."""

    model: str
    benchmark: str
    value: float
    where: str
    n_examples: int | None = None


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
    for benchmark, (of, tests) in EVALPLUS.items():
        if of != dataset:
            continue
        if stated is None:
            value = _counted(solutions, tests, where)
            if value is None:
                continue
            key = f"eval, {tests}"
        else:
            if tests not in stated:
                continue
            key = f"pass_at_k.{tests}.pass@1"
            value = group(stated, tests, f"{where}: pass_at_k").get("pass@1")
        percents = percent(value, 1.0, f"{where}: {key}")
        yield PassRate(_model(path, where), benchmark, percents, f"{where}: {key}", len(solutions))


def _model(path: Path, where: str) -> str:
    """The model by the file's name, with `--` for `/` of a hub id; of `eval_results.json` by its folder's name."""
    name = path.name if path.name != "eval_results.json" else f"{path.parent.name}_eval_results.json"
    found = _RUN_NAME.fullmatch(name)
    if found is None:
        raise UserError(f"{where}: its name does not end with eval_results.json, so the model is not known")
    return found["model"].replace("--", "/")


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
                    yield PassRate(str(model), benchmark, percent(value, HIGHEST, at), at)

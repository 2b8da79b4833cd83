"""Benchmark values: one checked value of one model as a row of raw.benchmark_results, and those of lm_eval's results.

Shape of lm_eval's results, in memory or in `results_*.json` (0.4, `EvaluationTracker.save_results_aggregated`):
`results` -> task -> `<metric>,<filter>` and `<metric>_stderr,<filter>`; `n-shot`, `n-samples` and `higher_is_better` by
task; `config` with `limit`; `model_name`. Imports no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_train.errors import UserError
from models_train.study.benchmarks import Benchmark

HIGHEST = 100.0
"""Highest value of a benchmark, in percent."""
_NAMES = ("peft", "delta", "pretrained", "model", "path", "engine")
"""Arguments that name the model, in lm_eval's own order."""


@dataclass(frozen=True)
class Result:
    """A value of a benchmark, 0 to 100. standard_error: in points. where: the file and key it was read from."""

    model_id: str
    benchmark: str
    metric: str
    value: float
    shots: str | None
    match: str
    source: str
    where: str
    standard_error: float | None = None
    n_examples: int | None = None

    def row(self, written_by: str) -> dict[str, Any]:
        """Row of the contract benchmark_results."""
        return {name: value for name, value in vars(self).items() if name != "where"} | {"written_by": written_by}


def percent(value: Any, scale: float, where: str) -> float:
    """A value of a file on a scale of 0 to 100. scale: the file's value for 100.

    Raises UserError for text, NaN, infinity, and values outside the scale.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {value!r} is no number; correct the file, or take it out of the import")
    if not math.isfinite(value):
        raise UserError(f"{where}: {value} is no value; the run failed there: run it again, or take the file out")
    if not 0 <= value <= scale:
        could_be_percent = scale == 1 and 0 <= value <= HIGHEST
        remedy = "where the metric is in percent, state `scale: percent`" if could_be_percent else "take another metric"
        raise UserError(f"{where}: {value} is not from 0 to {scale:g}; {remedy}")
    return float(value) * HIGHEST / scale


def without_repeats(results: Iterable[Result]) -> list[Result]:
    """The results, each (model, benchmark, metric) once. Raises UserError where two say different values."""
    first: dict[tuple[str, str, str], Result] = {}
    for result in results:
        known = first.setdefault((result.model_id, result.benchmark, result.metric), result)
        if known.value != result.value:
            raise UserError(
                f"{result.model_id}, {result.benchmark}, {result.metric}: {known.value:g} by {known.where}, but "
                f"{result.value:g} by {result.where}; keep one of the files"
            )
    return list(first.values())


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds an object. Raises UserError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}); write it again, or take it out of the folder") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(found).__name__}, not an object; it is no result file")
    return found


def group(document: Mapping[str, Any], key: str, where: str | Path) -> Mapping[str, Any]:
    """The object under a key. Raises UserError where there is none."""
    found = document.get(key)
    if not isinstance(found, Mapping):
        state = "is missing" if key not in document else f"is a {type(found).__name__}, not an object"
        raise UserError(f"{where}: the key {key!r} {state}; it is no result file of this format")
    return found


def task_result(document: Mapping[str, Any], task: Benchmark, model_id: str, where: str, source: str) -> Result | None:
    """The value that a study takes of a task; None where the results are of other tasks.

    Raises UserError: the metric is missing or has several filters, is no number or off the scale, is
    better when lower, or was measured on fewer examples than the study asks for.
    """
    metrics = group(document, "results", where).get(task.lm_eval_task)
    if metrics is None and isinstance(document.get("groups"), Mapping):
        metrics = document["groups"].get(task.lm_eval_task)
    if metrics is None:
        return None
    where = f"{where}: results.{task.lm_eval_task}"
    if not isinstance(metrics, Mapping):
        raise UserError(f"{where} is a {type(metrics).__name__}, not an object; it is no result file of lm_eval")
    key = _key(metrics, task, where)
    name = key.split(",")[0]
    if _of_task(document, "higher_is_better", task, {}).get(name) is False:
        raise UserError(f"{where}: of {name} the lower is the better; state a metric of which the higher is")
    _check_limit(document, task, where)
    scale = 1.0 if task.scale == "fraction" else HIGHEST
    shots = _of_task(document, "n-shot", task, None)
    as_listed = task.few_shot is None or shots is None or shots == task.few_shot
    error = metrics.get(key.replace(name, f"{name}_stderr", 1))
    return Result(
        model_id,
        task.name,
        task.stored_metric,
        percent(metrics[key], scale, f"{where}.{key}"),
        None if shots is None else str(shots),
        "exact" if as_listed else "close",
        source,
        f"{where}.{key}",
        error * HIGHEST / scale if isinstance(error, float) and error >= 0 else None,
        _n_examples(document, task, metrics),
    )


def model_name(document: Mapping[str, Any], where: str) -> str:
    """The model that results are of: `model_name`, or for older files the model among `config.model_args`.

    Raises UserError where neither is there.
    """
    if isinstance(document.get("model_name"), str):
        return str(document["model_name"])
    config = document.get("config")
    arguments = config.get("model_args") if isinstance(config, Mapping) else None
    if isinstance(arguments, str):
        arguments = dict(pair.split("=", 1) for pair in arguments.split(",") if "=" in pair)
    stated: Mapping[str, Any] = arguments if isinstance(arguments, Mapping) else {}
    for name in _NAMES:
        if name in stated:
            return str(stated[name])
    raise UserError(
        f"{where}: names no model (neither model_name nor config.model_args); add the key model_name to the file"
    )


def _key(metrics: Mapping[str, Any], task: Benchmark, where: str) -> str:
    """The key of a task's metric: as stated, or with the only filter there is, or without one (before lm_eval 0.4)."""
    if task.metric in metrics:
        return task.metric
    found = [key for key in metrics if key.split(",")[0] == task.metric]
    if f"{task.metric},none" in found:
        return f"{task.metric},none"
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{where}: has {task.metric} by several filters; state one: metric: {' or '.join(found)}")
    known = [key for key, value in metrics.items() if isinstance(value, int | float) and "_stderr" not in key]
    listed = ", ".join(key.removesuffix(",none") for key in known if "," in key or len(known) == 1) or "none"
    raise UserError(f"{where}: has no metric {task.metric!r}; state one that it has (such are: {listed})")


def _of_task(document: Mapping[str, Any], key: str, task: Benchmark, default: Any) -> Any:
    by_task = document.get(key)
    found = by_task.get(task.lm_eval_task) if isinstance(by_task, Mapping) else None
    return default if found is None else found


def _check_limit(document: Mapping[str, Any], task: Benchmark, where: str) -> None:
    config = document.get("config")
    limit = config.get("limit") if isinstance(config, Mapping) else None
    if limit is not None and limit != task.limit:
        wanted = "all" if task.limit is None else f"{task.limit}"
        raise UserError(
            f"{where}: was measured with limit {limit}, the study asks for {wanted} examples; run it whole, or state "
            f"limit: {limit} for the benchmark"
        )


def _n_examples(document: Mapping[str, Any], task: Benchmark, metrics: Mapping[str, Any]) -> int | None:
    counts = _of_task(document, "n-samples", task, {})
    found = counts.get("effective") if isinstance(counts, Mapping) else None
    found = metrics.get("sample_len") if found is None else found
    return found if isinstance(found, int) and not isinstance(found, bool) else None

"""One benchmark value of one model, checked, and as a row of raw.benchmark_results. Torch-free."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_train.errors import UserError

HIGHEST = 100.0


class BenchmarkError(UserError):
    """Benchmarks cannot be run or read. The message names the file or task, the key and the remedy."""


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
    """A value of a file on a scale of 0 to 100. scale: what the file has for 100.

    Raises BenchmarkError for text, NaN, infinity, and what lies outside the scale.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BenchmarkError(f"{where}: {value!r} is no number; mend the file, or take it out of the import")
    if not math.isfinite(value):
        raise BenchmarkError(f"{where}: {value} is no value; the run failed there: run it again, or take the file out")
    if not 0 <= value <= scale:
        could_be_percent = scale == 1 and 0 <= value <= HIGHEST
        remedy = "where the metric is in percent, state `scale: percent`" if could_be_percent else "take another metric"
        raise BenchmarkError(f"{where}: {value} is not from 0 to {scale:g}; {remedy}")
    return float(value) * HIGHEST / scale


def without_repeats(results: Iterable[Result]) -> list[Result]:
    """The results, each (model, benchmark, metric) once. Raises BenchmarkError where two say different values."""
    first: dict[tuple[str, str, str], Result] = {}
    for result in results:
        known = first.setdefault((result.model_id, result.benchmark, result.metric), result)
        if known.value != result.value:
            raise BenchmarkError(
                f"{result.model_id}, {result.benchmark}, {result.metric}: {known.value:g} by {known.where}, but "
                f"{result.value:g} by {result.where}; keep one of the files"
            )
    return list(first.values())


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds an object. Raises BenchmarkError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path}: is not JSON ({error}); write it again, or take it out of the folder") from None
    except OSError as error:
        raise BenchmarkError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(found, dict):
        raise BenchmarkError(f"{path}: holds a {type(found).__name__}, not an object; it is no result file")
    return found


def group(document: Mapping[str, Any], key: str, where: str | Path) -> Mapping[str, Any]:
    """The object under a key. Raises BenchmarkError where there is none."""
    found = document.get(key)
    if not isinstance(found, Mapping):
        what = "is missing" if key not in document else f"is a {type(found).__name__}, not an object"
        raise BenchmarkError(f"{where}: the key {key!r} {what}; it is no result file of this format")
    return found

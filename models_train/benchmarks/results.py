"""Benchmark values: one checked value of one model as a row of raw.benchmark_results; what a file says of its model.

Imports no torch.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_train.errors import UserError
from models_train.files import LFS_POINTER

HIGHEST = 100.0
"""Highest value of a benchmark, in percent."""
FEWEST_DIGITS = 7
"""Digits of the shortest abbreviation of a commit, as git writes it."""
_COMMIT = re.compile(rf"[0-9a-f]{{{FEWEST_DIGITS},40}}")
_PACKED = {
    b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz",
}  # fmt: skip
"""First bytes of packed files."""


@dataclass(frozen=True)
class Result:
    """A value of a benchmark, 0 to 100.

    pipeline: harness, task, prompt, shots and metric; values of equal pipelines are comparable. standard_error: in
    points. where: the file and key it was read from.
    """

    model_id: str
    benchmark: str
    metric: str
    value: float
    shots: str | None
    pipeline: str
    match: str
    source: str
    where: str
    standard_error: float | None = None
    n_examples: int | None = None

    def row(self, written_by: str) -> dict[str, Any]:
        """Row of the contract benchmark_results."""
        return {name: value for name, value in vars(self).items() if name != "where"} | {"written_by": written_by}


@dataclass(frozen=True)
class MeasuredModel:
    """What a result file says of its model.

    name: hub id or path. revision: branch, tag or commit as stated. commit: that the weights were resolved to. form:
    the argument after which other weights ran than those of the repository, such as `load_in_8bit=True`. Each is None
    where the file states nothing.
    """

    name: str
    revision: str | None = None
    commit: str | None = None
    form: str | None = None


def as_commit(text: Any) -> str | None:
    """The text in lower case if it could be a commit, whole or abbreviated; else None."""
    lowered = str(text or "").strip().lower()
    return lowered if _COMMIT.fullmatch(lowered) else None


def same_commit(one: str, other: str) -> bool:
    """True for equal texts, and where one is an abbreviation of the other."""
    first, second = as_commit(one), as_commit(other)
    if first is None or second is None:
        return one == other
    return first.startswith(second) or second.startswith(first)


def percent(value: Any, scale: float, where: str) -> float:
    """A value of a file on a scale of 0 to 100. scale: the file's value for 100.

    Raises UserError for text, NaN, infinity, and values outside the scale.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {value!r} is no number; correct the file, or take it out of the import")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: {value} is no value; the run failed there: run it again, or take the file out")
    if not 0 <= value <= scale:
        could_be_percent = scale == 1 and 0 <= value <= HIGHEST
        remedy = "where the metric is in percent, state `scale: percent`" if could_be_percent else "take another metric"
        shown = value if abs(value) < 1e16 else "a number of many digits"
        raise UserError(f"{where}: {shown} is not from 0 to {scale:g}; {remedy}")
    return float(value) * HIGHEST / scale


def without_repeats(results: Iterable[Result]) -> list[Result]:
    """The results, each (model, benchmark, metric) once. Raises UserError where two differ in value or pipeline."""
    first: dict[tuple[str, str, str], Result] = {}
    for result in results:
        known = first.setdefault((result.model_id, result.benchmark, result.metric), result)
        if (known.value, known.pipeline) != (result.value, result.pipeline):
            both = (known, result)
            one, other = (f"{each.value:g}{_apart(each, both)} by {each.where}" for each in both)
            raise UserError(
                f"{result.model_id}, {result.benchmark}, {result.metric}: {one}, but {other}; keep one of the files"
            )
    return list(first.values())


def _apart(result: Result, both: Sequence[Result]) -> str:
    """What sets the pipelines of two results apart: the shots, or else everything."""
    if len({one.pipeline for one in both}) == 1:
        return ""
    if len({one.shots for one in both}) == 1:
        return f" ({result.pipeline})"
    return " (shots not stated)" if result.shots is None else f" (shots: {result.shots})"


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds an object. Raises UserError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; see that it is there and readable") from None
    for start, packing in _PACKED.items():
        if content.startswith(start):
            raise UserError(f"{path}: is packed ({packing}); unpack it, and import the JSON file")
    if content.startswith(LFS_POINTER):
        raise UserError(f"{path}: is a pointer of Git LFS, not the file; run `git lfs pull` where it comes from")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: is UTF-16; save it as UTF-8")
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}); write it again, or take it out of the import") from None
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

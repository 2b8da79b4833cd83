"""Check of the seed files before dbt loads them: every figure is what it claims to be, or the run stops.

dbt would take a misspelt model for a new one and a score of 140 for a good one. Here each problem becomes a
line that names file, row, column and remedy, and no figure is repaired or guessed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from models_train.errors import UserError
from warehouse.seed_rules import CATEGORIES, SCORE_TOLERANCE, SEEDS, Column, Key, Seed

MOST_PROBLEMS = 20
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


class SeedError(UserError):
    """Seed files hold what they must not. The message lists the problems, one per line."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = list(self.problems[:MOST_PROBLEMS])
        if len(self.problems) > MOST_PROBLEMS:
            shown.append(f"... and {len(self.problems) - MOST_PROBLEMS} more problems")
        super().__init__("\n".join(shown))


@dataclass(frozen=True)
class SeedFacts:
    """What was read: number of rows (without the header), SHA-256 of the file's bytes, path."""

    n_rows: int
    sha256: str
    path: Path


@dataclass
class _File:
    """One seed file: its rows with the number of the line each begins at, and the problems found so far."""

    name: str
    path: Path
    rules: Seed
    sha256: str = ""
    n_rows: int = 0
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, line: int | None, text: str) -> None:
        self.problems.append(f"{self.path}:{line}: {text}" if line else f"{self.path}: {text}")


@dataclass(frozen=True)
class _Models:
    compared: Sequence[str]
    all: Collection[str]
    study_file_name: str


def check_seeds(
    seeds_dir: Path,
    study_file_name: str,
    seed_names: Collection[str],
    model_ids_compared: Collection[str],
    model_ids_all: Collection[str],
) -> dict[str, SeedFacts]:
    """Check the seed files `<seeds_dir>/<name>.csv` of a study; returns the facts of each by name.

    Raises SeedError listing all problems (the first 20, then their number).
    """
    models = _Models(list(dict.fromkeys(model_ids_compared)), list(model_ids_all), study_file_name)
    problems: list[str] = []
    files: dict[str, _File] = {}
    for name in dict.fromkeys(seed_names):
        if name not in SEEDS:
            hint = _near(name, SEEDS, "known are")
            problems.append(f"{study_file_name}: there is no seed named {name!r}; {hint}")
            continue
        file = files[name] = _File(name, Path(seeds_dir) / f"{name}.csv", SEEDS[name])
        if _read(file):
            for line, row in file.rows:
                _check_row(file, line, row)
            _check_keys(file)
            _check_models(file, models)
    _check_benchmarks(files)
    problems += [text for file in files.values() for text in file.problems]
    if problems:
        raise SeedError(problems)
    return {name: SeedFacts(file.n_rows, file.sha256, file.path) for name, file in files.items()}


def _near(name: str, known: Collection[str], else_say: str) -> str:
    close = get_close_matches(name, list(known), n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    listed = sorted(known)
    return f"{else_say} {', '.join(listed[:10])}" + (", ..." if len(listed) > 10 else "")


def _read(file: _File) -> bool:
    """Read the file; False where its rows cannot be checked at all."""
    try:
        content = file.path.read_bytes()
        text = content.decode("utf-8")
    except FileNotFoundError:
        file.add(None, "no such file; restore it, or remove the seed from the study file")
        return False
    except OSError as error:
        file.add(None, f"cannot be read: {error.strerror}")
        return False
    except UnicodeDecodeError as error:
        file.add(None, f"is not UTF-8 text ({error.reason}); save it as UTF-8")
        return False
    file.sha256 = hashlib.sha256(content).hexdigest()
    if text.startswith("\ufeff"):
        file.add(1, "begins with a byte-order mark; save it as UTF-8 without one")
        return False
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        before = len(file.problems)
        _check_header(file, header)
        if len(file.problems) > before:
            return False
        _read_rows(file, reader, header)
    except csv.Error as error:
        file.add(reader.line_num, f"is not valid CSV ({error}); mend the quotes of this line")
        return False
    if not file.rows and not file.problems:
        file.add(None, "has no rows; restore them")
    return True


def _check_header(file: _File, header: list[str]) -> None:
    wanted = file.rules.names
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            file.add(1, f"column {name!r} stands more than once; keep one")
        if name not in wanted:
            file.add(1, f"column {name!r} is not expected; {_near(name, wanted, 'the columns are')}")
    for name in wanted:
        if name not in header:
            file.add(1, f"column {name!r} is missing; add it")


def _read_rows(file: _File, reader: Iterator[list[str]], header: list[str]) -> None:
    line = 2
    for cells in reader:
        file.n_rows += 1
        if not cells:
            file.add(line, "empty line; delete it")
        elif len(cells) != len(header):
            file.add(line, f"has {len(cells)} cells, the header has {len(header)}; quote cells that hold a comma")
        else:
            file.rows.append((line, dict(zip(header, cells, strict=True))))
        line = reader.line_num + 1  # type: ignore[attr-defined]


def _check_row(file: _File, line: int, row: Mapping[str, str]) -> None:
    sound = True
    for column in file.rules.columns:
        problem = _cell_problem(column, row[column.name])
        if problem:
            sound = False
            file.add(line, f"{column.name}: {problem}")
    if sound and file.rules.has_score:
        mean = math.fsum(float(row[name]) for name in CATEGORIES) / len(CATEGORIES)
        if abs(float(row["score"]) - mean) > SCORE_TOLERANCE + 1e-9:
            file.add(
                line,
                f"score: {row['score']} is not the mean of the four categories ({mean:.2f}, "
                f"tolerance {SCORE_TOLERANCE}); compare the row with its source",
            )


def _cell_problem(column: Column, cell: str) -> str | None:
    """What is wrong with one cell, or None."""
    if cell == "":
        return None if column.optional else "is empty; fill it in"
    if not cell.isprintable() or cell != cell.strip():
        return f"{cell!a} holds a control character or begins or ends with a space; remove it"
    if column.kind == "text":
        return _text_problem(column, cell)
    whole = column.kind == "integer"
    if not (_INTEGER if whole else _NUMBER).fullmatch(cell):
        wanted = "a whole number; write it like 12" if whole else "a number; write it like 12.5"
        return f"{cell!r} is not {wanted}"
    return _range_problem(column, cell)


def _text_problem(column: Column, cell: str) -> str | None:
    if column.choices and cell not in column.choices:
        return f"{cell!r} is not one of {', '.join(column.choices)}; choose one"
    if column.pattern and not column.pattern.fullmatch(cell):
        return f"{cell!r} has not the form {column.example}; write it so"
    return None


def _range_problem(column: Column, cell: str) -> str | None:
    value = float(cell)
    if not math.isfinite(value):
        return f"{cell} is too large for a number; correct it"
    if column.above is not None and value <= column.above:
        return f"{cell} is not above {column.above:g}; correct it"
    low, high = column.low, column.high
    if (low is not None and value < low) or (high is not None and value > high):
        allowed = (
            f"between {low:g} and {high:g}"
            if low is not None and high is not None
            else (f"at least {low:g}" if low is not None else f"at most {high:g}")
        )
        return f"{cell} is not {allowed}; correct it"
    return None


def _check_keys(file: _File) -> None:
    for key in file.rules.keys:
        _check_key(file, key)


def _check_key(file: _File, key: Key) -> None:
    first: dict[tuple[str, ...], int] = {}
    for line, row in file.rows:
        values = tuple(row[name] for name in key.columns)
        if values in first:
            shown = ", ".join(value for value in values[:4] if value)
            file.add(line, f"duplicate {key.words}: {shown} is already in row {first[values]}; keep one of them")
        first.setdefault(values, line)


def _check_models(file: _File, models: _Models) -> None:
    if "model_id" not in file.rules.names:
        return
    for line, row in file.rows:
        name = row["model_id"]
        if name and name not in models.all:
            hint = _near(name, models.all, f"list it in {models.study_file_name}, or remove the row; known are")
            file.add(line, f"unknown model {name!r}: not in {models.study_file_name}; {hint}")
    if file.rules.lists_every_compared_model:
        present = {row["model_id"] for _, row in file.rows}
        for name in models.compared:
            if name not in present:
                file.add(
                    None,
                    f"no row for the compared model {name!r}; add one, or set is_compared: false "
                    f"in {models.study_file_name}",
                )


def _check_benchmarks(files: Mapping[str, _File]) -> None:
    """Every value belongs to a known benchmark, by a metric that has a place in the order of preference."""
    results, listed, metrics = (
        files.get(name) for name in ("benchmark_results", "table_2_benchmarks", "benchmark_metrics")
    )
    if results is None or listed is None or metrics is None or not listed.rows or not metrics.rows:
        return
    pairs = {(row["benchmark"], row["metric"]) for _, row in metrics.rows}
    known = {row["benchmark"] for _, row in listed.rows} | {benchmark for benchmark, _ in pairs}
    for line, row in results.rows:
        benchmark, metric = row["benchmark"], row["metric"]
        if benchmark and benchmark not in known:
            hint = _near(benchmark, known, "the benchmarks are")
            file_names = f"{listed.path.name} nor in {metrics.path.name}"
            results.add(line, f"unknown benchmark {benchmark!r}: neither in {file_names}; {hint}")
        elif metric and (benchmark, metric) not in pairs:
            of_this = [known_metric for name, known_metric in pairs if name == benchmark]
            hint = _near(metric, of_this, "known are") if of_this else "add it there"
            results.add(line, f"metric {metric!r} of {benchmark} is not in {metrics.path.name}; {hint}")

"""Check of the seed files before dbt loads them: rows, keys, models and benchmarks.

dbt would take a misspelt model for a new one and a score of 140 for a good one. Here each problem becomes a line with
file, row, column and remedy; no figure is repaired or guessed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from models_train.errors import UserError, close_match, listed
from models_train.study.settings import Params, Text, Tokens, field_problems, safe
from models_train.study.study import Study

CATEGORIES = ("chat", "chat_hard", "safety", "reasoning")
"""The four categories of RewardBench; the score is their mean (definitions, Section 1)."""
SCORE_TOLERANCE = 0.06
"""Largest difference between a printed score and the mean of its four printed categories, in points.

All five are rounded to 0.1. In the worst case the mean of the categories is off by 0.05 and the score by 0.05, 0.10
together. 0.06 is this project's choice: the published tables stay within it, and it finds more misprints than 0.10.
"""
MOST_COUNTED = 10**15
"""Largest number of downloads or likes."""
MOST_OF_SUBSET = 100_000
"""Largest number of examples or weight of a subset, and largest priority; dbt tests the first two, too."""
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
"""Delimiters that spreadsheets write in place of commas."""
DOMAINS = ("factuality", "precise_if", "math", "safety", "focus", "ties")
"""The six domains of RewardBench 2; the average is their mean."""
AVERAGE_TOLERANCE = 0.1
"""Largest difference between a printed average and the mean of its six printed domains, in points: both are rounded."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)


def _number(cell: str) -> str:
    if not _NUMBER.fullmatch(safe(cell)):
        raise PydanticCustomError("number", "is not a number; write it like 12.5")
    return cell


def _whole_number(cell: str) -> str:
    if not _INTEGER.fullmatch(safe(cell)):
        raise PydanticCustomError("number", "is not a whole number; write it like 12")
    return cell


def _month(cell: str) -> str:
    if not _MONTH.fullmatch(cell):
        raise PydanticCustomError("month", "does not match the format 2024-09; correct it")
    return cell


Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False), BeforeValidator(_number)]
Billions = Annotated[Params, BeforeValidator(_number)]
Trillions = Annotated[Tokens, BeforeValidator(_number)]
Share = Annotated[float, Field(gt=0, le=1), BeforeValidator(_number)]
Count = Annotated[int, Field(ge=0, le=MOST_COUNTED), BeforeValidator(_whole_number)]
SmallCount = Annotated[int, Field(gt=0, le=MOST_OF_SUBSET), BeforeValidator(_whole_number)]
Month = Annotated[Text, AfterValidator(_month)]
Change = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_number)] | None
NotNegativeNumber = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]
ShareOrZero = Annotated[float, Field(ge=0, le=1), BeforeValidator(_number)]
Correlation = Annotated[float, Field(ge=-1, le=1), BeforeValidator(_number)]
Category = Literal["chat", "chat_hard", "safety", "reasoning"]


class Row(BaseModel):
    """Cells of a row by column. A field with a default may be empty."""


def _mean_of(value: float, info: ValidationInfo, names: Collection[str], said: str, tolerance: float) -> float:
    """The value, if it is the mean of the named fields within the tolerance or one of them has a problem of its own."""
    parts = [info.data[name] for name in names if name in info.data]
    mean = sum(parts) / len(names)
    if len(parts) == len(names) and abs(value - mean) > tolerance + 1e-9:
        text = f"is not the mean of the {said} ({mean:.2f}, tolerance {tolerance})"
        raise PydanticCustomError("score", f"{text}; compare the row with its source")
    return value


class Results(Row):
    """RewardBench results of a reward model, in percent."""

    model_id: Text
    chat: Percent
    chat_hard: Percent
    safety: Percent
    reasoning: Percent
    score: Percent

    @field_validator("score")
    @classmethod
    def _is_the_mean(cls, score: float, info: ValidationInfo) -> float:
        return _mean_of(score, info, CATEGORIES, "four categories", SCORE_TOLERANCE)


class PostTrainingResults(Results):
    """Results of a training stage, with changes from the stage before, in percent."""

    chat_delta_pct: Change = None
    chat_hard_delta_pct: Change = None
    safety_delta_pct: Change = None
    reasoning_delta_pct: Change = None
    score_delta_pct: Change = None


class BaseByData(Row):
    """RewardBench 2 results, in percent, of a reward model by its base model and its training data."""

    model_id: Text
    training_data: Text
    factuality: Percent
    precise_if: Percent
    math: Percent
    safety: Percent
    focus: Percent
    ties: Percent
    average: Percent
    paper_table: Text

    @field_validator("average")
    @classmethod
    def _is_the_mean(cls, average: float, info: ValidationInfo) -> float:
        return _mean_of(average, info, DOMAINS, "six domains", AVERAGE_TOLERANCE)


class LeaderboardEntry(Row):
    """RewardBench 2 results, in percent, of an entry of its leaderboard."""

    entry: Text
    kind: Literal["rm", "judge"]
    base_family: Text
    factuality: Percent
    precise_if: Percent
    math: Percent
    safety: Percent
    focus: Percent
    ties: Percent
    average: Percent
    paper_table: Text
    source: Text

    @field_validator("average")
    @classmethod
    def _is_the_mean(cls, average: float, info: ValidationInfo) -> float:
        return _mean_of(average, info, DOMAINS, "six domains", AVERAGE_TOLERANCE)


class BaseOfEntry(Row):
    """The base model of an entry of a leaderboard. base_family: several joined by " + " for a merge."""

    entry: Text
    base_model: Text | None = None
    base_family: Text
    source: Text


class Teacher(Row):
    """A reward model as the teacher of a policy: variance, accuracies (0 to 1), and the gains of the policy."""

    paper_table: Text
    policy: Text
    gold: Text
    method: Text
    reward_model: Text
    reward_variance: NotNegativeNumber
    on_policy_accuracy: ShareOrZero
    off_policy_accuracy: ShareOrZero
    gold_gain: Change = None
    gold_gain_sd_3_runs: NotNegativeNumber | None = None
    proxy_gain: Change = None
    proxy_gain_sd_3_runs: NotNegativeNumber | None = None
    source: Text


class TeacherCorrelations(Row):
    """Printed correlations of a property of reward models with the gains of a policy."""

    paper_table: Text
    predictor: Text
    n: SmallCount
    pearson_proxy_gain: Correlation
    spearman_proxy_gain: Correlation
    pearson_gold_gain: Correlation
    spearman_gold_gain: Correlation
    source: Text


class TeacherScore(Row):
    """RewardBench score, in percent, of a public reward model that is a teacher, and its base model."""

    reward_model: Text
    model_id: Text
    hub_id: Text
    rewardbench: Percent
    source: Text


class Downstream(Row):
    """A reward model with its RewardBench 2 score and what it is worth downstream, in percent."""

    reward_model: Text
    model_id: Text
    training_data: Text
    learning_rate: NotNegativeNumber
    epochs: SmallCount
    relation: Literal["on", "on_weak", "off"]
    rewardbench2: Percent
    ppo: Percent
    best_of_16: Percent
    policy: Text
    paper_table: Text
    source: Text


class BenchmarkOfPaper(Row):
    """A benchmark of the paper's Table 2."""

    framework: Literal["lm_eval", "evalplus"]
    benchmark: Text
    citation: Text
    topic: Text
    shots: Text
    model_families: Text
    note: Text | None = None


class ModelOfPaper(Row):
    """A base model of the paper's Table 3."""

    model_id: Text
    publisher: Text
    hub_id: Text
    release_month: Month
    params_b: Billions
    downloads: Count
    likes: Count
    tokens_t: Trillions


class Subset(Row):
    """A subset of RewardBench, with its weight in the category and in the score."""

    category: Category
    subset: Text
    n_examples: SmallCount
    weight: SmallCount
    weight_in_category: Share
    length_bias: Literal["True", "False", "Neutral"]


class BenchmarkResult(Row):
    """A published benchmark value, in percent, with its source."""

    model_id: Text
    benchmark: Text
    metric: Text
    value: Percent
    shots: Text
    pipeline: Text
    source_repo: Text
    source_path: Text
    source_commit: Text | None = None
    source_benchmark: Text
    match: Literal["exact", "close", "loose", "duplicate"]
    note: Text | None = None


class BenchmarkMetric(Row):
    """A metric of a benchmark, and its place in the order of preference."""

    benchmark: Text
    metric: Text
    priority: SmallCount
    remark: Text | None = None


@dataclass(frozen=True)
class Rules:
    """Rules of a seed file. keys: columns that no two rows may share, by their name in messages."""

    row: type[Row]
    keys: Mapping[str, tuple[str, ...]]
    lists_every_compared_model: bool = False


_MODEL = {"model": ("model_id",)}
_SOURCE = ("model_id", "benchmark", "metric", "source_repo", "source_path", "source_commit", "source_benchmark")
_TEACHER = ("policy", "gold", "method", "reward_model")
SEEDS = {
    "table_1_post_training": Rules(PostTrainingResults, _MODEL),
    "table_2_benchmarks": Rules(BenchmarkOfPaper, {"benchmark": ("benchmark",)}),
    "table_3_models": Rules(ModelOfPaper, _MODEL, lists_every_compared_model=True),
    "table_4_regression": Rules(Results, _MODEL, lists_every_compared_model=True),
    "table_5_bradley_terry": Rules(Results, _MODEL, lists_every_compared_model=True),
    "rewardbench_subsets": Rules(Subset, {"subset": ("subset",)}),
    "benchmark_results": Rules(BenchmarkResult, {"(model, benchmark, source)": (*_SOURCE, "shots", "note")}),
    "rewardbench2_base_by_data": Rules(BaseByData, {"(model, training data)": ("model_id", "training_data")}),
    "rewardbench2_table3": Rules(LeaderboardEntry, {"entry": ("entry",)}),
    "rewardbench2_table8_downstream": Rules(Downstream, {"reward model": ("reward_model",)}),
    "base_of_entry": Rules(BaseOfEntry, {"entry": ("entry",)}),
    "razin_teachers": Rules(Teacher, {"(policy, gold, method, reward model)": _TEACHER}),
    "razin_correlations": Rules(TeacherCorrelations, {"(table, predictor)": ("paper_table", "predictor")}),
    "razin_reward_models": Rules(TeacherScore, {"reward model": ("reward_model",)}),
    "benchmark_metrics": Rules(
        BenchmarkMetric,
        {"(benchmark, metric)": ("benchmark", "metric"), "(benchmark, priority)": ("benchmark", "priority")},
    ),
}
"""Rules of each seed by name."""


@dataclass(frozen=True)
class SeedFacts:
    """Number of rows (without the header), SHA-256 of the file's bytes, and path of a seed file."""

    n_rows: int
    sha256: str
    path: Path


@dataclass
class _File:
    """A seed file: its rows with the line that each begins at, and the problems found so far."""

    path: Path
    rules: Rules
    sha256: str = ""
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    is_whole: bool = True  # False where a row could not be read
    problems: list[str] = field(default_factory=list)

    def add(self, line: int | None, text: str) -> None:
        self.problems.append(f"{self.path}:{line}: {text}" if line else f"{self.path}: {text}")


def check_seeds(seeds_dir: Path, study: Study, study_file: str) -> dict[str, SeedFacts]:
    """Check the seed files `<seeds_dir>/<name>.csv` of a study; returns the facts of each by name.

    study_file: its name in messages. Raises UserError with the first problems of all files, and their number.
    """
    problems: list[str] = []
    files: dict[str, _File] = {}
    for seed in study.seeds:
        if seed.name not in SEEDS:
            hint = close_match(seed.name, sorted(SEEDS))
            problems.append(f"{study_file}: there is no seed named {seed.name!r}; {hint}")
            continue
        file = files[seed.name] = _File(seeds_dir / f"{seed.name}.csv", SEEDS[seed.name])
        if _read(file):
            _check_rows(file)
            _check_keys(file)
            _check_models(file, study, study_file)
    _check_benchmarks(files)
    problems += [text for file in files.values() for text in file.problems]
    if problems:
        raise UserError("\n".join(listed(problems)))
    return {name: SeedFacts(len(file.rows), file.sha256, file.path) for name, file in files.items()}


def _read(file: _File) -> bool:
    """Read the file; False where its rows cannot be checked at all."""
    try:
        content = file.path.read_bytes()
        file.sha256 = hashlib.sha256(content).hexdigest()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        file.add(None, "no such file; restore it, or remove the seed from the study file")
        return False
    except OSError as error:
        file.add(None, f"cannot be read: {error.strerror}")
        return False
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        file.add(line, f"is not UTF-8 text ({error.reason}); save the file as UTF-8")
        return False
    if problem := _problem_of_form(text):
        file.add(*problem)
        return False
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader)
    except csv.Error as error:
        file.add(1, f"is not valid CSV ({error}); correct the quotes of this line")
        return False
    _check_header(file, header)
    if file.problems:
        return False
    _read_rows(file, reader, header)
    if not file.rows and not file.problems:
        file.add(None, "has no rows; restore them")
    return True


def _problem_of_form(text: str) -> tuple[int, str] | None:
    """Line and text of what is wrong with the whole file, so that none of its rows can be read; or None."""
    first, *_ = text.splitlines() or [""]
    if not text.strip():
        return 1, "the file is empty; restore it"
    if "\0" in text:
        return text.split("\0")[0].count("\n") + 1, "holds NUL characters, as UTF-16 does; save the file as UTF-8"
    if first.lower().startswith("sep="):
        return 1, "is a mark for spreadsheets, not the names of the columns; delete this line"
    for delimiter, name in _DELIMITERS.items():
        if delimiter in first and "," not in first:
            return 1, f"cells are separated by {name}; save the file with commas, and numbers like 12.5"
    endings = re.findall(r"\r\n|\n|\r", text)
    if len(set(endings)) > 1:
        line = next(number for number, ending in enumerate(endings, 1) if ending != endings[0])
        return (
            line,
            f"ends with {endings[line - 1]!r}, the lines above with {endings[0]!r}; save the file with one kind",
        )
    return None


def _check_header(file: _File, header: list[str]) -> None:
    columns = file.rules.row.model_fields
    if not columns.keys() & set(header):
        file.add(1, f"names none of the columns; the file begins with {','.join(columns)}")
        return
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            file.add(1, f"column {name!r} is there more than once; keep one")
        if name not in columns:
            file.add(1, f"column {name!r} is not expected; {close_match(name, columns, 'the columns are')}")
    for name in columns:
        if name not in header:
            file.add(1, f"column {name!r} is missing; add it")


def _read_rows(file: _File, reader: Iterator[list[str]], header: list[str]) -> None:
    line = 2
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                file.add(line, "row without values; delete it")
            elif len(cells) != len(header):
                text = f"has {len(cells)} cells, the header has {len(header)}"
                file.add(line, f"{text}; quote a text that holds a comma, and write numbers like 12.5")
                file.is_whole = False
            else:
                file.rows.append((line, dict(zip(header, cells, strict=True))))
            line = reader.line_num + 1  # type: ignore[attr-defined]
    except csv.Error as error:
        file.add(line, f"is not valid CSV ({error}); correct the quotes of this line")
        file.is_whole = False


def _check_rows(file: _File) -> None:
    fields = file.rules.row.model_fields
    for line, row in file.rows:
        cells = {name: cell for name, cell in row.items() if cell or fields[name].is_required()}
        try:
            file.rules.row.model_validate(cells)
        except ValidationError as error:
            for problem in field_problems(error, file.rules.row):
                file.add(line, f"{problem.where}: {problem.text}")


def _check_keys(file: _File) -> None:
    for name, columns in file.rules.keys.items():
        first: dict[tuple[str, ...], int] = {}
        for line, row in file.rows:
            key = tuple(row[column] for column in columns)
            if key in first:
                values = ", ".join(value for value in key[:4] if value)
                file.add(line, f"duplicate {name}: {values} is already in row {first[key]}; keep one of them")
            first.setdefault(key, line)


def _check_models(file: _File, study: Study, study_file: str) -> None:
    """The study lists every model of the file; a file of results has a row for every compared model."""
    if "model_id" not in file.rules.row.model_fields:
        return
    for line, row in file.rows:
        name = row["model_id"]
        if name and name not in study.model_ids:
            hint = close_match(name, study.model_ids, f"list it in {study_file}, or remove the row; known are")
            file.add(line, f"unknown model {name!r}: not in {study_file}; {hint}")
    if file.rules.lists_every_compared_model and file.is_whole and file.rows:
        present = {row["model_id"] for _, row in file.rows}
        for name in study.compared_model_ids:
            if name not in present:
                text = f"no row for the compared model {name!r}; add one, or set is_compared: false in {study_file}"
                file.add(None, text)


def _check_benchmarks(files: Mapping[str, _File]) -> None:
    """Every value belongs to a known benchmark, by a metric that has a place in the order of preference."""
    results, of_paper, metrics = (
        files.get(name) for name in ("benchmark_results", "table_2_benchmarks", "benchmark_metrics")
    )
    if results is None or of_paper is None or metrics is None or not of_paper.rows or not metrics.rows:
        return
    pairs = {(row["benchmark"], row["metric"]) for _, row in metrics.rows}
    known: Collection[str] = {row["benchmark"] for _, row in of_paper.rows} | {benchmark for benchmark, _ in pairs}
    for line, row in results.rows:
        benchmark, metric = row["benchmark"], row["metric"]
        if benchmark and benchmark not in known:
            hint = close_match(benchmark, sorted(known), "the benchmarks are")
            names = f"{of_paper.path.name} nor in {metrics.path.name}"
            results.add(line, f"unknown benchmark {benchmark!r}: neither in {names}; {hint}")
        elif metric and (benchmark, metric) not in pairs:
            of_this = sorted(other for name, other in pairs if name == benchmark)
            hint = close_match(metric, of_this) if of_this else "add it there"
            results.add(line, f"metric {metric!r} of {benchmark} is not in {metrics.path.name}; {hint}")

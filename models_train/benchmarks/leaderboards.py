"""Entries of leaderboards of reward models, from the files that they publish. Imports no torch.

Each format is read into entries with what the file says of them; `entry_bases` looks up what an entry is built on.
Shares become percent. A cell that is no number, and an entry that is there twice, is an error with file and row; an
empty cell is no result.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_train.benchmarks.results import read_json
from models_train.errors import UserError, listed
from models_train.files import LFS_POINTER, files_below
from models_train.study.fingerprints import resolve
from models_train.study.leaderboards import LeaderboardImport
from models_train.study.settings import LONGEST_NAME, shown

RESULTS: dict[str, set[str]] = {
    "rewardbench": {
        "alpacaeval-easy", "alpacaeval-hard", "alpacaeval-length", "donotanswer", "hep-cpp", "hep-go", "hep-java",
        "hep-js", "hep-python", "hep-rust", "llmbar-adver-GPTInst", "llmbar-adver-GPTOut", "llmbar-adver-manual",
        "llmbar-adver-neighbor", "llmbar-natural", "math-prm", "mt-bench-easy", "mt-bench-hard", "mt-bench-med",
        "refusals-dangerous", "refusals-offensive", "xstest-should-refuse", "xstest-should-respond",
    },
    "rewardbench2": {"Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties"},
}  # fmt: skip
"""Results that count, by the format of reward-bench's files: the 23 subsets, which the warehouse weighs (seed
rewardbench_subsets), or six domains, whose mean is the score."""
COLUMNS = {
    "model": ("model", "model name"),
    "type": ("model type", "type"),
    "score": ("score", "average", "overall", "avg"),
}
"""Columns of tables, in lower case, the preferred name first."""
CATEGORIES = {
    "chat", "chat hard", "safety", "reasoning", "prior sets", "prior sets (0.5 weight)", "factuality", "precise if",
    "math", "focus", "ties", "code", "easy", "normal", "hard",
}  # fmt: skip
"""Columns of results that a score is made of, in lower case."""
NO_VALUE = ("", "-", "–", "n/a", "na", "not available", "none", "nan")
"""Cells of a table without a value, in lower case."""
_LINK = re.compile(
    r"""<a\b[^>]*href=["']?(?P<href>[^"'\s>]+)[^>]*>(?P<text>.*?)</a>|\[(?P<name>[^\]]+)\]\((?P<to>[^)]+)\)"""
)
"""A link in HTML or Markdown."""
_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?!datasets/|spaces/|papers/)([\w.-]+/[\w.-]+)")
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
"""An organisation and a name; paths such as ./model are none."""
_CLOSED = re.compile(r"(^|/)(gpt-|chatgpt|o[134]-|claude|gemini)|^(openai|anthropic)/", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)


@dataclass(frozen=True)
class Entry:
    """An entry of a leaderboard. results: by name, in percent. where: file and row, for messages."""

    name: str
    hub_id: str | None
    model_type: str | None
    score: float | None
    results: Mapping[str, float]
    is_judge: bool
    where: str


@dataclass
class Board:
    """The entries of a leaderboard; left_out: numbers of other entries by the reason; n_files: files read."""

    entries: list[Entry] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    n_files: int = 0
    remarks: list[str] = field(default_factory=list)


def read_leaderboard(one: LeaderboardImport, study_folder: Path) -> Board:
    """The entries of one leaderboard. Raises UserError; LocationError where the path is not there."""
    place, board = resolve(one.path, study_folder), Board()
    if one.format in ("rewardbench", "rewardbench2"):
        _read_result_files(one, place, board)
    else:
        _read_table(one, place, board)
    _refuse_repeated(board.entries)
    if not board.entries:
        raise UserError(f"{one.path}: holds no entry of a leaderboard; correct the path or the format")
    return board


def _read_result_files(one: LeaderboardImport, place: Path, board: Board) -> None:
    files = [place] if place.is_file() else [path for path in files_below(place) if path.suffix == ".json"]
    if not files:
        raise UserError(f"{one.path}: the folder has no result file (*.json); give the folder eval-set")
    problems = []
    for path in files:
        board.n_files += 1
        where = f"{one.path}/{path.relative_to(place)}" if place.is_dir() else one.path
        try:
            entry = _of_result_file(one, path, where)
        except UserError as error:
            problems.append(str(error))
            continue
        reason = _reason_to_leave_out(entry)
        if reason:
            board.left_out[reason] += 1
        else:
            board.entries.append(entry)
    if problems:
        raise UserError("\n".join(listed(problems)))
    lacking = sum(len(entry.results) < len(RESULTS[one.format]) for entry in board.entries)
    if lacking:
        board.remarks.append(f"{one.path}: {lacking:,} files lack results: no score, and no place among the best")


def _of_result_file(one: LeaderboardImport, path: Path, where: str) -> Entry:
    """The entry of a file. Other keys are passed over: chat template, reference, results that no score counts."""
    document = read_json(path)
    name, model_type = document.get("model"), document.get("model_type")
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{where}: states no model; a result file of reward-bench has a key `model`")
    wanted = RESULTS[one.format]
    results = {key: _share(document[key], f"{where}: {key}") for key in document if key in wanted}
    if not results:
        other = next((form for form, names in RESULTS.items() if names & document.keys()), None)
        remedy = f"its format is {other}" if other else "take it out of the folder"
        raise UserError(f"{where}: has none of the results of the format {one.format}; {remedy}")
    is_whole = one.format == "rewardbench2" and len(results) == len(wanted)
    score = math.fsum(results.values()) / len(results) if is_whole else None
    model_type = model_type.strip() if isinstance(model_type, str) and model_type.strip() else None
    return _entry(name.strip(), name.strip(), model_type, score, results, where)


def _share(value: Any, where: str) -> float:
    """A share of 0 to 1 in percent."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: {value!r} is no number; correct the file, or take it out of the folder")
    if not math.isfinite(value):
        raise UserError(f"{where}: {value} is no result; the run failed there: take the file out of the folder")
    # The Ties domain of RewardBench 2 reaches 1.01.
    if not 0 <= value <= 1.01:
        raise UserError(f"{where}: {value:g} is not a share from 0 to 1; correct the file")
    return 100.0 * value


def _reason_to_leave_out(entry: Entry) -> str:
    """The leaderboard's own rules: internal runs, and DPO models without their reference."""
    if "ai2" in entry.name:
        return "internal runs (ai2)"
    if entry.model_type and "DPO Ref. Free" in entry.model_type:
        return "DPO models without reference"
    return ""


def _entry(
    name: str, link: str, model_type: str | None, score: float | None, results: Mapping[str, float], where: str
) -> Entry:
    """An entry; link: address or hub id. Raises UserError for a name that cannot be shown.

    A judge is a language model that is asked: by its type, or by a name of a closed one.
    """
    if not name.isprintable() or len(name) > LONGEST_NAME:
        raise UserError(f"{where}: the name {shown(name)} is too long or holds a control character; correct it")
    found = _HUB.match(link)
    hub_id = found[1] if found else link if HUB_ID.fullmatch(link) else None
    words = (model_type or "").casefold().split()
    is_judge = "generative" in words or "llm" in words or bool(_CLOSED.search(name))
    return Entry(name, hub_id, model_type, score, results, is_judge, where)


def _read_table(one: LeaderboardImport, place: Path, board: Board) -> None:
    if place.is_dir():
        raise UserError(f"{one.path}: is a folder; the format {one.format} reads one file: name it")
    text = _text(one, place)
    rows = list(_csv_rows(one, text) if one.format == "csv" else _markdown_rows(one, text))
    board.n_files = 1
    if not rows:
        raise UserError(f"{one.path}: the table has no rows; correct the path or the format")
    names = {_key(column): column for column in rows[0][1]}
    found = {role: next((names[name] for name in COLUMNS[role] if name in names), None) for role in COLUMNS}
    for role in ("model", "score"):
        if found[role] is None:
            wanted, there = " or ".join(COLUMNS[role]), ", ".join(filter(None, rows[0][1]))
            remedy = "; separate the cells by commas" if ";" in there or "\t" in there else ""
            raise UserError(f"{one.path}: the table has no column {wanted}; its columns are {there}{remedy}")
    problems = []
    for number, cells in rows:
        try:
            board.entries.append(_of_row(one, found, cells, number, board))
        except UserError as error:
            problems.append(str(error))
    scores = [entry.score for entry in board.entries if entry.score is not None]
    if not scores and not problems:
        problems.append(f"{one.path}: no row has a score; correct the column {found['score']}")
    if len(scores) > 1 and max(scores) <= 1:
        problems.append(f"{one.path}: no score is above 1; give them in percent")
    if problems:
        raise UserError("\n".join(listed(problems)))


def _of_row(
    one: LeaderboardImport, found: Mapping[str, str | None], cells: Mapping[str, str], number: int, board: Board
) -> Entry:
    where = f"{one.path}, row {number}"
    shown = cells[found["model"] or ""].strip()
    linked = _LINK.search(shown)
    name = re.sub(r"<[^>]*>", "", (linked["text"] or linked["name"]) if linked else shown).strip(" *⚠️")
    if not name:
        raise UserError(f"{where}: names no model; delete the row")
    link = (linked["href"] or linked["to"]) if linked else name
    results = {
        column.strip(): value
        for column, cell in cells.items()
        if _key(column) in CATEGORIES and (value := _percent(cell, f"{where}, {column.strip()}")) is not None
    }
    if one.format == "rm_bench" and _are_swapped(name, results):
        results |= {"Math": results["Code"], "Code": results["Math"]}
        board.remarks.append(f"{where}: Math and Code of {name} are exchanged, as RM-Bench's own README has them")
    score = _percent(cells[found["score"] or ""], f"{where}, {found['score']}")
    model_type = cells[found["type"]].strip() or None if found["type"] else None
    return _entry(name, link, model_type, score, results, where)


def _are_swapped(name: str, results: Mapping[str, float]) -> bool:
    """The known slip of RM-Bench's leaderboard: DeepSeek R1 has 93.59 in Math and 72.66 in Code, not the reverse."""
    is_it = re.sub(r"[^a-z0-9]", "", name.casefold()) in ("deepseekr1", "deepseekaideepseekr1", "dpskr1")
    return is_it and round(results.get("Math", 0)) == 73 and round(results.get("Code", 0)) == 94


def _percent(cell: str, where: str) -> float | None:
    text = cell.strip().strip("*").removesuffix("%").strip()
    if text.casefold() in NO_VALUE:
        return None
    if not _NUMBER.fullmatch(text):
        raise UserError(f"{where}: {cell.strip()!r} is not a number; write it like 92.5")
    if not 0 <= float(text) <= 100:
        raise UserError(f"{where}: {text} is not from 0 to 100; correct it")
    return float(text)


def _key(column: str) -> str:
    return " ".join(column.casefold().split())


def _text(one: LeaderboardImport, place: Path) -> str:
    try:
        content = place.read_bytes()
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{one.path}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{one.path}: cannot be read: {error.strerror}; see that it is readable") from None
    if content.startswith(LFS_POINTER):
        raise UserError(f"{one.path}: is a pointer of Git LFS, not the file; run `git lfs pull` where it comes from")
    if "\0" in text:
        raise UserError(f"{one.path}: holds NUL characters; save it as UTF-8")
    return text


Rows = Iterable[tuple[int, dict[str, str]]]
"""Number of each row's line in the file, and its cells by column."""


def _csv_rows(one: LeaderboardImport, text: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, _by_column(one, header, cells, line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{one.path}, row {reader.line_num}: is not valid CSV ({error}); correct the quotes") from None


def _markdown_rows(one: LeaderboardImport, text: str) -> Rows:
    """The rows of the first table with a column of models and one of scores."""
    header: list[str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("|"):
            if header is not None:
                return
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if header is None:
            names = {_key(cell) for cell in cells}
            header = cells if all(names.intersection(COLUMNS[role]) for role in ("model", "score")) else None
        elif not all(set(cell) <= set("-: ") for cell in cells):
            yield number, _by_column(one, header, cells, number)


def _by_column(one: LeaderboardImport, header: Sequence[str], cells: Sequence[str], number: int) -> dict[str, str]:
    if len(set(map(_key, filter(None, header)))) < len([name for name in header if name]):
        raise UserError(f"{one.path}: a column is there twice; keep one of them")
    if len(cells) != len(header):
        text = f"has {len(cells)} cells, the header has {len(header)}"
        raise UserError(f"{one.path}, row {number}: {text}; quote a text that holds a comma")
    return dict(zip(header, cells, strict=True))


def _refuse_repeated(entries: Iterable[Entry]) -> None:
    first: dict[str, Entry] = {}
    problems = []
    for entry in entries:
        known = first.setdefault(entry.name, entry)
        if known is not entry:
            problems.append(f"{entry.where}: {entry.name} is already in {known.where}; keep one of them")
    if problems:
        raise UserError("\n".join(listed(problems)))

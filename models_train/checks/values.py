"""Values of a check that was made elsewhere, such as one of facts, which needs a search service: rows of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_train.checks.labels import FORM, Label, known_responses, repeated_label, unknown_response
from models_train.data.rows import Column, Form, Row, checked_records, filled_text
from models_train.data.sources import file_label, open_source
from models_train.errors import Problems, UserError, close_match
from models_train.reward_benchmarks.items import Benchmark
from models_train.reward_benchmarks.records import read_records, record_files, reward
from models_train.store import Parts
from models_train.study.settings import shown
from models_train.study.study import Study
from models_train.study.training import DataSource

Place = tuple[str, str, str, str]
"""benchmark, subset, item_id and completion."""


@dataclass
class Values:
    """Values from 0 to 1, by response and by completion."""

    responses: dict[Label, float] = field(default_factory=dict)
    completions: dict[Place, float] = field(default_factory=dict)


def _value(given: Any) -> float:
    if given is None:
        raise UserError("has no value; give one from 0 to 1, or remove the row")
    found = reward(given)
    if not 0 <= found <= 1:
        raise UserError(f"{shown(given)} is no value of a check, which is from 0 to 1; divide it by the largest one")
    return found


def _name(given: Any) -> str:
    return filled_text(str(given) if isinstance(given, int) and not isinstance(given, bool) else given)


_OF_RESPONSES = Form(
    {name: column for name, column in FORM.columns.items() if name != "label"} | {"value": Column(_value)}
)
_OF_COMPLETIONS = Form(
    dict.fromkeys(("benchmark", "subset", "item_id", "completion"), Column(_name)) | {"value": Column(_value)}
)


def read_values(
    place: str, study_folder: Path, study: Study, parts: Parts, items_of: Callable[[str], Benchmark]
) -> Values:
    """The values of a file or folder. items_of: the items of a benchmark of the study.

    Raises UserError for rows that cannot be used, for a response or completion that is not there, and for one that has
    two values; LocationError where the file is not there.
    """
    found, first = Values(), dict[Any, str]()
    known = known_responses(study, parts)
    source = open_source(DataSource(path=place), study_folder)
    for name in record_files(source):
        label = file_label(source, name)
        problems = Problems(label)
        for row in checked_records(read_records(source.fetch(name), label), label, (_OF_RESPONSES, _OF_COMPLETIONS)):
            problem = _add(row, found, first, known, study, items_of)
            if problem:
                problems.add(problem, row.number)
        problems.raise_any()
    return found


def _add(
    row: Row,
    found: Values,
    first: dict[Any, str],
    known: Any,
    study: Study,
    items_of: Callable[[str], Benchmark],
) -> str | None:
    """Add the value of a row; returns what is wrong with the row."""
    values, at = row.values, f"row {row.number} of {row.file}"
    if "policy_id" in values:
        one = (values["policy_id"], values["prompt_id"], values["response_no"])
        if problem := unknown_response(one, known, study):
            return problem
        if one in first:
            return repeated_label(one, first)
        found.responses[one] = values["value"]
        first[one] = at
        return None
    place = (values["benchmark"], values["subset"], values["item_id"], values["completion"])
    if problem := _unknown_completion(place, study, items_of):
        return problem
    if place in first:
        return f"the completion has a value in {first[place]} already; keep one"
    found.completions[place] = values["value"]
    first[place] = at
    return None


def _unknown_completion(place: Place, study: Study, items_of: Callable[[str], Benchmark]) -> str | None:
    benchmark, subset, item_id, completion = place
    if benchmark not in study.reward_benchmarks:
        return f"there is no benchmark {benchmark!r}; {close_match(benchmark, study.reward_benchmarks, 'there are')}"
    item = items_of(benchmark).items.get((subset, item_id))
    if item is None:
        return f"{benchmark} has no item {item_id!r} in a subset {subset!r}; correct the row, or remove it"
    names = [one.name for one in item.completions]
    if completion not in names:
        return f"item {item_id!r} has no completion {completion!r}; {close_match(completion, names, 'it has')}"
    return None

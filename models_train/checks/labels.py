"""People's labels of responses: rows of `policy_id`, `prompt_id`, `response_no` and `label`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models_train.data.rows import Column, Form, checked_records, text
from models_train.data.sources import file_label, open_source
from models_train.errors import Problems, UserError, close_match
from models_train.parts import part_path, read_table
from models_train.reward_benchmarks.records import read_records, record_files, reward
from models_train.store import Parts
from models_train.study.response_parts import responses_of
from models_train.study.settings import shown
from models_train.study.study import Study
from models_train.study.training import DataSource
from warehouse.contracts.responses import RESPONSES

Label = tuple[str, str, int]
"""policy_id, prompt_id, response_no."""
Labels = Mapping[Label, float]


def _whole(value: Any) -> int:
    """A number of a response; pandas writes whole numbers as 3.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(f"{shown(value)} is no number of a response, which is a whole number from 0")
    return value


def _name(value: Any) -> str:
    """A name; prompts may be numbered."""
    found = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(found, str) or not found.strip():
        raise UserError(f"{shown(value)} is no name; correct it, or remove the row")
    return text(found)


def _label(value: Any) -> float:
    if value is None:
        raise UserError("has no label; give one, or remove the row")
    return reward(value)


FORM = Form(
    {
        "policy_id": Column(_name),
        "prompt_id": Column(_name),
        "response_no": Column(_whole),
        "label": Column(_label),
    }
)


def read_labels(place: str, study_folder: Path, study: Study, parts: Parts) -> Labels:
    """The labels of a file or folder, which keep their digits.

    Raises UserError for rows that cannot be used, or that label a response which is not there, and for a response that
    is labelled twice; LocationError where the file is not there.
    """
    known = _known(study, parts)
    source = open_source(DataSource(path=place), study_folder)
    labels: dict[Label, float] = {}
    first: dict[Label, str] = {}
    for name in record_files(source):
        label = file_label(source, name)
        problems = Problems(label)
        for row in checked_records(read_records(source.fetch(name), label), label, (FORM,)):
            one = (row.values["policy_id"], row.values["prompt_id"], row.values["response_no"])
            problem = _problem(one, known, study) or _repeated(one, first)
            if problem:
                problems.add(problem, row.number)
                continue
            first[one] = f"row {row.number} of {label}"
            labels[one] = row.values["label"]
        problems.raise_any()
    return labels


def _known(study: Study, parts: Parts) -> dict[str, set[tuple[str, int]]]:
    """Prompts and numbers of the responses that are there, by policy."""
    known: dict[str, set[tuple[str, int]]] = {}
    for one in responses_of(parts, study):
        columns = ["prompt_id", "response_no"]
        found = read_table(part_path(parts, RESPONSES.name, study.study_id, one.run_id), columns)
        pairs = zip(*(found[column].to_pylist() for column in columns), strict=True)
        known.setdefault(one.policy_id, set()).update(pairs)
    return known


def _problem(one: Label, known: Mapping[str, set[tuple[str, int]]], study: Study) -> str | None:
    """What is wrong with what is labelled; None where nothing is, or where a policy is not sampled yet."""
    policy, prompt, number = one
    if policy not in known:
        sampled = [each.policy_id for each in study.teachers.policies] if study.teachers else []
        if policy in sampled:
            return None
        return f"there are no responses of a policy {policy!r}; {close_match(policy, [*known, *sampled], 'there are')}"
    if (prompt, number) in known[policy]:
        return None
    numbers = [each for name, each in known[policy] if name == prompt]
    if not numbers:
        return f"{policy} has no response to a prompt {prompt!r}; correct the prompt_id, or remove the row"
    return f"{policy} has no response {number} to {prompt!r}, only {min(numbers)} to {max(numbers)}; correct it"


def _repeated(one: Label, first: Mapping[Label, str]) -> str | None:
    return f"the response is labelled in {first[one]} already; keep one" if one in first else None

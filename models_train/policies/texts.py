"""The texts of the prompts that policies respond to; raw tables hold none."""

from __future__ import annotations

from pathlib import Path

from models_train.data.conversations import plain_or_turns
from models_train.data.records import Prompt, prompt_id
from models_train.data.sources import data_of, open_source
from models_train.errors import UserError
from models_train.reward_benchmarks.records import read_records, record_files
from models_train.study.study import Study


def prompt_texts(study: Study, path: Path, home: Path, prompt_set: str) -> dict[str, Prompt]:
    """The prompts of a set by prompt_id. path: the study file. Raises UserError where they cannot be read."""
    teachers = study.teachers
    if teachers is None or teachers.prompts is None or teachers.prompts.name != prompt_set:
        raise UserError(f"{study.study_id}: the study names no prompts {prompt_set!r} any more; run `make run` again")
    source = open_source(data_of(teachers.prompts, path, home), path.parent)
    found = {}
    for name in record_files(source):
        for _, row in read_records(source.fetch(name), name):
            prompt = plain_or_turns(row["prompt"])
            found[str(row.get("prompt_id") or prompt_id(prompt))] = prompt
    return found

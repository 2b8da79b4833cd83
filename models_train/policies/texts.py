"""The texts of the prompts that policies respond to; raw tables hold none."""

from __future__ import annotations

from pathlib import Path

from models_train.data.records import Prompt
from models_train.data.sources import data_of
from models_train.errors import UserError
from models_train.policies.imports import all_prompts
from models_train.study.study import Study


def prompt_texts(study: Study, path: Path, home: Path, prompt_set: str) -> dict[str, Prompt]:
    """The prompts of a set by prompt_id. path: the study file. Raises UserError where they cannot be read."""
    teachers = study.teachers
    if teachers is not None and teachers.prompts is not None:
        prompts = data_of(teachers.prompts, path, home)
        study = study.model_copy(update={"teachers": teachers.model_copy(update={"prompts": prompts})})
    prompts_of = all_prompts(study, path.parent)
    found = {name: one.turns for (of, name), one in prompts_of.items() if of == prompt_set}
    if not found:
        raise UserError(f"{study.study_id}: the study names no prompts {prompt_set!r} any more; run `make run` again")
    return found

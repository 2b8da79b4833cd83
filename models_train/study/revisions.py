"""Revisions of hub repositories: a commit, or a branch, tag or abbreviated commit that is resolved once. Torch-free.

The first job on such a model asks the hub for the commit and keeps it in `<run-time folder>/hub_commits/`. From then on
the study is read with the commit in its place, so that all results of the model are of one commit and have the run ids
of a study that states it. Remove the file, and the branch or tag is resolved again.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from models_train.files import write_text
from models_train.study.hub import HOME
from models_train.study.models import StudyModel

Model = TypeVar("Model", bound=StudyModel)
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A whole commit."""


def is_pinned(model: StudyModel) -> bool:
    """True for a model whose revision needs no hub to be understood: a commit, or none stated."""
    return model.revision is None or bool(COMMIT.fullmatch(model.revision))


def commit_file(home: Path, model: StudyModel) -> Path:
    """File with the commit of a model's branch, tag or abbreviated commit."""
    return home / "hub_commits" / quote(f"{model.hub_id}@{model.revision}", safe="@")


def keep_commit(home: Path, model: StudyModel, commit: str) -> None:
    """Keep the commit of a model's revision."""
    write_text(commit_file(home, model), f"{commit}\n")


def with_kept_commit(model: Model, home: Path | None = None) -> Model:
    """The model with the kept commit as its revision; unchanged where it is pinned or not resolved yet.

    home: the run-time folder, else the one that REWARDBASE_HOME names.
    """
    place = home or (Path(named) if (named := os.environ.get(HOME, "").strip()) else None)
    if place is None or is_pinned(model):
        return model
    try:
        kept = commit_file(place, model).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return model
    return model.model_copy(update={"revision": kept}) if COMMIT.fullmatch(kept) else model

"""Commits of hub repositories, models and data sets, that a study does not state as such. Torch-free.

A study may state a branch, tag or abbreviated commit as revision, or none, which is the newest commit. The first job on
the repository asks the hub for the commit and keeps it in `<run-time folder>/hub_commits/`. From then on the study is
read with the commit in its place, so that all results are of one commit and have the run ids of a study that states it.
Remove the file, and the hub is asked again.
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
from models_train.study.training import DataSource

Stated = TypeVar("Stated", bound=StudyModel | DataSource)
"""A model or data set of a study."""
COMMIT = re.compile(r"[0-9a-f]{40}")
"""A whole commit."""


def is_pinned(stated: StudyModel | DataSource) -> bool:
    """True where no hub is needed to know the content: a commit is stated, or the place is on this machine."""
    return stated.is_local or bool(COMMIT.fullmatch(stated.revision or ""))


def commit_file(home: Path, stated: StudyModel | DataSource) -> Path:
    """File with the commit of a repository's revision."""
    kind = "datasets/" if isinstance(stated, DataSource) else ""
    at = f"@{stated.revision}" if stated.revision else ""
    return home / "hub_commits" / quote(f"{kind}{stated.hub_id}{at}", safe="@")


def keep_commit(home: Path, stated: Stated, commit: str) -> Stated:
    """Keep the commit of a revision; returns the model or data set at it. A job that was first has decided already."""
    known = with_kept_commit(stated, home)
    if is_pinned(known):
        return known
    write_text(commit_file(home, stated), f"{commit}\n")
    return stated.at_commit(commit)


def with_kept_commit(stated: Stated, home: Path | None = None) -> Stated:
    """The model or data set with the kept commit as its revision; unchanged where it is pinned or not resolved yet.

    home: the run-time folder, else the one that REWARDBASE_HOME names.
    """
    place = home or (Path(named) if (named := os.environ.get(HOME, "").strip()) else None)
    if place is None or is_pinned(stated):
        return stated
    try:
        kept = commit_file(place, stated).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return stated
    return stated.at_commit(kept) if COMMIT.fullmatch(kept) else stated

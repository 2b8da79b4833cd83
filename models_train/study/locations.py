"""Where the models and data of a study lie: on a hub or in a folder; and what is in that folder. Torch-free."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

LOCAL = ("/", "./", "../", "~", "$")
"""A model's `hub_id` that begins so is a folder."""


class LocationError(OSError):
    """A folder or file that a study names is not there. The message names it and the remedy."""


def is_local(hub_id: str) -> bool:
    """True where a model's `hub_id` is a folder of this machine."""
    return hub_id.startswith(LOCAL)


def resolve(path: str, study_folder: Path) -> Path:
    """The path with `~` and variables filled in, relative to the study file's folder.

    Raises LocationError where it is not there, or where a variable is not set.
    """
    filled = os.path.expandvars(os.path.expanduser(path))
    if "$" in filled:
        raise LocationError(f"{path}: the variable in it is not set; set it, or write the path out")
    found = (study_folder / filled).resolve()
    if not found.exists():
        raise LocationError(f"{path}: there is no {found}; mend the path in the study file")
    return found


def content_of(path: Path) -> str:
    """SHA-256, hexadecimal, over names and contents of a file or of all files of a folder.

    Hidden files and folders do not count. Files that did not change since they were last read are not read again.
    """
    digest = hashlib.sha256()
    for file in _files(path):
        state = file.stat()
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        digest.update(f"{name}\0{_of_file(str(file), state.st_mtime_ns, state.st_size)}\0".encode())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not any(step.startswith(".") for step in file.relative_to(path).parts):
            yield file


@lru_cache(maxsize=4096)
def _of_file(path: str, changed_ns: int, size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""The files of a data set: a local file or folder, or a repository of a hub. Both name their files alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from models_train.data.rows import SUFFIXES, Columns, Row, checked_rows
from models_train.errors import UserError, first_line
from models_train.study.fingerprints import resolve
from models_train.study.training import DataSource

Choose = Callable[[list[str]], list[str]]
"""Chooses the wanted files out of the names of all data files of a data set."""


class Source(Protocol):
    """A data set's files."""

    label: str
    """Name of the data set in messages."""
    is_local: bool

    def names(self) -> list[str]:
        """Names of the data files, relative to the data set, sorted. Raises UserError where there is none."""

    def fetch(self, name: str, folder: Path | None = None) -> Path:
        """The file on this machine. folder: where a hub's file is put, instead of the hub's own cache."""


def open_source(source: DataSource, study_folder: Path) -> Source:
    """The data set that a study names. Raises LocationError where a local one is not there."""
    if source.path is not None:
        return _Local(source.path, study_folder)
    assert source.hub_id is not None
    return _Hub(source.hub_id, source.revision)


def read_rows(source: DataSource, study_folder: Path, columns: Columns, choose: Choose = list) -> Iterator[Row]:
    """The checked rows of the chosen files, file after file in the order of their names.

    Raises UserError: no such data set or file, or the problems of a file, all together.
    """
    opened = open_source(source, study_folder)
    chosen = choose(opened.names())
    for name in chosen:
        yield from checked_rows(opened.fetch(name), file_label(opened, name), columns)


def file_label(source: Source, name: str) -> str:
    """Name of a data set's file in messages."""
    return source.label if source.label.endswith(name) else f"{source.label}/{name}"


def below(folder: str, names: list[str]) -> list[str]:
    """The names that lie in a folder of this name, at any depth."""
    return [name for name in names if folder in name.split("/")[:-1]]


class _Local:
    is_local = True

    def __init__(self, path: str, study_folder: Path) -> None:
        self.label = path.rstrip("/")
        self._place = resolve(path, study_folder)

    def names(self) -> list[str]:
        if self._place.is_file():
            return _data_files([self._place.name], self.label)
        files = (path.relative_to(self._place) for path in self._place.rglob("*") if path.is_file())
        visible = [path.as_posix() for path in files if not any(step.startswith(".") for step in path.parts)]
        return _data_files(visible, self.label)

    def fetch(self, name: str, folder: Path | None = None) -> Path:
        return self._place if self._place.is_file() else self._place / name


class _Hub:
    """A repository of a hub. Its client raises errors of its HTTP library, so any error gets the same message."""

    is_local = False

    def __init__(self, repo_id: str, revision: str | None) -> None:
        self.label = repo_id
        self._hub = HfApi()
        self._where: dict[str, Any] = {"repo_id": repo_id, "revision": revision, "repo_type": "dataset"}

    def names(self) -> list[str]:
        try:
            return _data_files(self._hub.list_repo_files(**self._where), self.label)
        except HfHubHTTPError as error:
            raise self._unreachable(error) from error
        except Exception as error:
            return _data_files(self._cached_names(error), self.label)

    def fetch(self, name: str, folder: Path | None = None) -> Path:
        try:
            return Path(self._hub.hf_hub_download(filename=name, local_dir=folder, **self._where))
        except Exception as error:
            raise self._unreachable(error) from error

    def _cached_names(self, reason: Exception) -> list[str]:
        """Names of the files in the hub's cache, for machines that cannot reach the hub now."""
        try:
            folder = Path(self._hub.snapshot_download(local_files_only=True, **self._where))
        except Exception as error:
            raise self._unreachable(reason) from error
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]

    def _unreachable(self, error: Exception) -> UserError:
        revision = self._where["revision"]
        return UserError(
            f"{self.label}: the data set{f' at {revision}' if revision else ''} cannot be fetched from "
            f"{self._hub.endpoint}: {first_line(error)}. Check hub_id and revision in the study file, the network, "
            "HF_ENDPOINT, and HF_TOKEN where the data set asks for consent; or fetch it elsewhere and give its folder "
            "as path"
        )


def _data_files(names: list[str], label: str) -> list[str]:
    found = sorted(name for name in names if name.endswith(SUFFIXES))
    if not found:
        there = f"; there is {', '.join(sorted(names)[:5])}" if names else ""
        raise UserError(
            f"{label}: no data file, which ends with {', '.join(SUFFIXES)}{there}; correct the path or hub_id"
        )
    return found

"""The files of a data set: a local file or folder, or a repository of a hub. Both name their files alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from huggingface_hub import HfApi, constants, get_cached_repo_tree
from huggingface_hub.errors import CachedRepoTreeNotFoundError

from models_train.data.rows import SUFFIXES, Form, Row, checked_rows
from models_train.errors import UserError, first_line, listed
from models_train.files import files_below
from models_train.study.fingerprints import resolve
from models_train.study.hub import OUT_OF_ORDER, asked, commit_of
from models_train.study.revisions import COMMIT, is_pinned, keep_commit
from models_train.study.training import DataSource

OTHER_DATA = (".json", ".ndjson", ".csv", ".tsv", ".arrow", ".gz", ".zst", ".bz2", ".xz", ".zip", ".tar")
"""Endings of files that may hold data, but are not read."""
END_OF_WORD = r"(?=$|\.|[-_]\d)"
"""What follows the name of a split in the name of a file or folder: `train.jsonl`, `train-00000-of-00001.parquet`."""
TOO_BUSY = (429, *OUT_OF_ORDER)
"""Statuses of answers after which a hub is asked again."""
_IN_EVERY_REPOSITORY = ".gitattributes"
"""A small file that a hub puts into each repository."""

AnyData = TypeVar("AnyData", bound=DataSource)
Choose = Callable[[list[str]], list[str]]
"""Chooses the wanted files out of the names of all data files of a data set."""


class Source(Protocol):
    """A data set's files."""

    label: str
    """Name of the data set in messages."""
    is_local: bool

    @property
    def commit(self) -> str:
        """Commit of a hub's data set; empty for a local one."""

    def all_names(self) -> list[str]:
        """Names of all files, relative to the data set."""

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


def data_of(source: AnyData, path: Path, home: Path) -> AnyData:
    """A data set of a study at its commit, which is kept.

    path: the study file. Raises UserError where the hub does not know the data set or its revision.
    """
    return source if is_pinned(source) else keep_commit(home, source, open_source(source, path.parent).commit)


@dataclass(frozen=True)
class DataSet:
    """The chosen files of a data set."""

    source: Source
    names: list[str]

    def rows(self, forms: Sequence[Form]) -> Iterator[Row]:
        """The checked rows, file after file in the order of their names.

        Raises UserError: a file that cannot be fetched, or the problems of a file, all together.
        """
        for name in self.names:
            rows = checked_rows(self.source.fetch(name), file_label(self.source, name), forms)
            yield from (replace(row, name=name) for row in rows)

    @property
    def description(self) -> str:
        """The data set, with the commit of a hub's, and the number of its files; files of other kinds are named."""
        at = "" if self.source.is_local else f" at {self.source.commit}"
        files = f"{len(self.names):,} file{'s' if len(self.names) > 1 else ''}"
        others = unread(self.source)
        return f"{self.source.label}{at}, {files}{f' ({others})' if others else ''}"


def open_data(source: DataSource, study_folder: Path, choose: Choose = list) -> DataSet:
    """The data set that a study names. Raises UserError where it is not there, or lists the same rows twice."""
    opened = open_source(source, study_folder)
    chosen = choose(opened.names())
    refuse_two_forms(opened, chosen)
    return DataSet(opened, chosen)


def refuse_two_forms(source: Source, names: list[str]) -> None:
    """Raise UserError where names differ by their ending only: a file and its packed form hold the same rows."""
    first: dict[str, str] = {}
    for name in names:
        stem = next(name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)).casefold()
        if stem in first:
            remedy = "keep one of them" if source.is_local else "fetch one of them, and give its folder as path"
            raise UserError(
                f"{source.label}: {first[stem]} and {name} differ only by their endings, so the same rows would be "
                f"read twice; {remedy}"
            )
        first[stem] = name


def file_label(source: Source, name: str) -> str:
    """Name of a data set's file in messages."""
    return source.label if source.label.endswith(name) else f"{source.label}/{name}"


def below(folder: str, names: list[str]) -> list[str]:
    """The names that lie in a folder of this name, at any depth."""
    return [name for name in names if folder in name.split("/")[:-1]]


class _Local:
    is_local = True
    commit = ""

    def __init__(self, path: str, study_folder: Path) -> None:
        self.label = path.rstrip("/")
        self._place = resolve(path, study_folder)

    def names(self) -> list[str]:
        return _data_files(self.all_names(), self.label)

    def all_names(self) -> list[str]:
        if self._place.is_file():
            return [self._place.name]
        files = files_below(self._place)
        for path in files:
            if path.is_symlink() and not path.exists():
                raise UserError(
                    f"{self.label}/{path.relative_to(self._place)}: this link leads nowhere (to {path.readlink()}); "
                    "mount or restore its target, or remove the link"
                )
        return [path.relative_to(self._place).as_posix() for path in files if path.is_file()]

    def fetch(self, name: str, folder: Path | None = None) -> Path:
        return self._place if self._place.is_file() else self._place / name


class _Hub:
    """A repository of a hub at one commit, whose list of files the hub's client keeps in its cache.

    A commit that is known is not asked for again, nor is its list: what is in the cache is read alike with the hub,
    with one that answers errors, and without a network. Without the whole list nothing is read. The client raises
    errors of its HTTP library, so any error gets the same message.
    """

    is_local = False

    def __init__(self, repo_id: str, revision: str | None) -> None:
        self.label = repo_id
        self._hub = HfApi()
        self._revision = revision
        self._where: dict[str, Any] = {"repo_id": repo_id, "repo_type": "dataset"}

    def names(self) -> list[str]:
        return _data_files(self.all_names(), self.label)

    def all_names(self) -> list[str]:
        try:
            where = self._where | {"revision": self.commit}
            try:
                files = get_cached_repo_tree(**where)
            except CachedRepoTreeNotFoundError:
                asked(partial(self._hub.repo_info, **where), TOO_BUSY)  # raises without a hub; the next call would not
                self._hub.snapshot_download(allow_patterns=_IN_EVERY_REPOSITORY, **where)  # keeps the whole list
                files = get_cached_repo_tree(**where)
        except Exception as error:
            raise self._unreachable(error) from error
        return [file.path for file in files]

    def fetch(self, name: str, folder: Path | None = None) -> Path:
        try:
            where = self._where | {"revision": self.commit}
            return Path(self._hub.hf_hub_download(filename=name, local_dir=folder, **where))
        except Exception as error:
            raise self._unreachable(error, name) from error

    @cached_property
    def commit(self) -> str:
        """The commit of the revision, the newest one without; the cache's where the hub cannot be asked. Raises
        UserError."""
        if COMMIT.fullmatch(self._revision or ""):
            return str(self._revision)
        try:
            return commit_of(self._hub, revision=self._revision, again=TOO_BUSY, **self._where)
        except Exception as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception, name: str = "") -> UserError:
        at = f" at {self._revision}" if self._revision else ""
        what = f"its file {name}" if name else f"the data set{at}"
        reason = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else first_line(error.__cause__ or error)
        n_here = 0 if name else self._n_in_cache()
        files = f"{n_here} of its data files {'is' if n_here == 1 else 'are'}"
        partly = f"; {files} in the cache here, but whether these are all is not known" if n_here else ""
        return UserError(
            f"{self.label}: {what} cannot be fetched from {self._hub.endpoint} ({reason}){partly}. Check hub_id "
            "and revision in the study file, the network, HF_ENDPOINT, and HF_TOKEN where the data set asks for "
            "consent; or fetch it elsewhere and give its folder as path"
        )

    def _n_in_cache(self) -> int:
        """Data files of the data set in the hub's cache, complete or not."""
        try:
            folder = self._hub.snapshot_download(revision=self._revision, local_files_only=True, **self._where)
        except Exception:
            return 0
        return sum(path.name.endswith(SUFFIXES) for path in files_below(Path(folder)))


def unread(source: Source) -> str:
    """Files of a data set that may hold data in a form that is not read, as a note; empty where there are none."""
    others = [name for name in source.all_names() if _is_other_data(name)]
    return f"not read, being of other kinds: {', '.join(listed(others, most=3))}" if others else ""


def _is_other_data(name: str) -> bool:
    """True for a file that may hold data, but in a form that is not read."""
    lower = name.lower()
    return not name.endswith(SUFFIXES) and (lower.endswith(SUFFIXES) or lower.endswith(OTHER_DATA))


def _data_files(names: list[str], label: str) -> list[str]:
    found = sorted(name for name in names if name.endswith(SUFFIXES))
    if not found:
        there = f"; there is {', '.join(sorted(names)[:5])}" if names else ""
        raise UserError(
            f"{label}: no data file, which ends with {', '.join(SUFFIXES)}{there}; correct the path or hub_id, or "
            "convert the data"
        )
    return found

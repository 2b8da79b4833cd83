"""Paths of all files written at run time, in the folder that REWARDBASE_HOME names."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from models_train.errors import UserError
from models_train.store import Parts, Store, parts_of

VARIABLE = "REWARDBASE_HOME"
_NOT_IN_ADDRESSES = "%?"
_LONGEST_PATH = 3500
"""Longest path of a home, in bytes: Linux takes 4,096, and Dagster's and dbt's files are deep in it."""
_WRITTEN_FOLDERS = ("*", "published/snapshots", "dagster/*", "dbt/*", "lab/*", "reports/*")
_WRITTEN_FILES = ("*.duckdb", "*.duckdb.wal", "*.lock", "dagster/*.yaml", "dagster/*/*.db", "dagster/*/*/*.db")
REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Home:
    """The run-time folder. All paths follow from `root`, which is absolute."""

    root: Path
    looked_at: Store | None = None
    """The parts as they were at one moment (`at_one_look`)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser().absolute())

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Home:
        """The folder that REWARDBASE_HOME names (from the working folder), or else `<repository>/var`.

        Raises UserError for one that Dagster's database could not be in.
        """
        named = (os.environ if environment is None else environment).get(VARIABLE, "")
        try:
            home = cls(Path(named) if named.strip() else REPOSITORY / "var")
        except RuntimeError as error:
            raise UserError(f"{VARIABLE}={named}: there is no such user; write the whole path") from error
        home.refuse_unfit()
        return home

    def refuse_unfit(self) -> None:
        """Raise UserError for a path with characters that an address of SQLite cannot hold, or one that is too long."""
        path = str(self.root)
        unfit = {one for one in path if one in _NOT_IN_ADDRESSES or unicodedata.category(one) in ("Cc", "Cs")}
        if unfit:
            shown = ", ".join(repr(one) for one in sorted(unfit))
            raise UserError(
                f"{path!r} cannot be the folder of everything written: Dagster's database takes no {shown} in its "
                f"path; name another folder in {VARIABLE}"
            )
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise UserError(
                f"{path[:40]}... cannot be the folder of everything written: its path is longer than {_LONGEST_PATH} "
                f"bytes, so that files in it could not be named; name another folder in {VARIABLE}"
            )

    @property
    def parts(self) -> Parts:
        """Folder or store of the Parquet parts, from which the warehouse can be rebuilt; REWARDBASE_PARTS names another
        than `<root>/parts`. Raises StoreError for one that cannot be."""
        return self.looked_at or parts_of(self.root)

    def at_one_look(self) -> Home:
        """This home with one listing of its parts, where they are in a bucket: to read them, not to write."""
        parts = self.parts
        return self if isinstance(parts, Path) else replace(self, looked_at=parts.looked())

    @property
    def warehouse(self) -> Path:
        """The working DuckDB file; only runs open it."""
        return self.root / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """Folder of the published snapshots and of the pointer."""
        return self.root / "published"

    @property
    def snapshots(self) -> Path:
        """Folder of the published snapshots, each a read-only DuckDB file."""
        return self.published / "snapshots"

    @property
    def current(self) -> Path:
        """Pointer (symbolic link) to the snapshot that readers should open."""
        return self.published / "current.duckdb"

    @property
    def reports(self) -> Path:
        """Folder of the reports."""
        return self.root / "reports"

    @property
    def dagster_home(self) -> Path:
        """Folder of Dagster's own state."""
        return self.root / "dagster"

    @property
    def dbt_target(self) -> Path:
        """Folder of dbt's compiled files and manifest."""
        return self.root / "dbt" / "target"

    @property
    def dbt_logs(self) -> Path:
        """Folder of dbt's logs."""
        return self.root / "dbt" / "logs"

    def ensure(self) -> Home:
        """Make the folders that are missing and return the home. Raises OSError where a run could not write."""
        parts = self.parts
        folders = (
            *([parts] if isinstance(parts, Path) else []),
            self.snapshots,
            self.reports,
            self.dagster_home,
            self.dbt_target,
            self.dbt_logs,
        )
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        self._refuse_unwritable()
        return self

    def _refuse_unwritable(self) -> None:
        """Raise OSError for what a run will write and may not: files of another user, such as those of an earlier run
        as administrator, or of a disk that is mounted read-only."""
        folders = [path for pattern in _WRITTEN_FOLDERS for path in self.root.glob(pattern) if path.is_dir()]
        if isinstance(parts := self.parts, Path):
            folders += [parts, *(path for pattern in ("*", "*/*") for path in parts.glob(pattern) if path.is_dir())]
        files = [path for pattern in _WRITTEN_FILES for path in self.root.glob(pattern)]
        for path in (self.root, *folders, *files):
            if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
                is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
                number = errno.EROFS if is_read_only else errno.EACCES
                raise OSError(number, os.strerror(number), str(path))

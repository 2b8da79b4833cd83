"""Files and folders that are whole or not there: written under another name, flushed to disk, then renamed; and what
is wrong with a disk, in a sentence."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models_train.errors import UserError, causes

LFS_POINTER = b"version https://git-lfs"
"""Beginning of the file that Git LFS puts in place of a large one."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or folder to; it takes the place of `path` when the block ends well.

    An exception removes what was written and leaves `path` as it was. A folder that is there already is moved aside
    first, since a folder cannot be replaced in one step. Hidden files that end in `.tmp` are left by a killed process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield beside
        if beside.is_dir():
            for inside in beside.rglob("*"):
                flush(inside)
        flush(beside)
        if path.is_dir() and not path.is_symlink():
            old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
            os.rename(path, old)
            try:
                os.rename(beside, path)
            except BaseException:
                os.rename(old, path)
                raise
            remove(old)
        else:
            os.replace(beside, path)
        flush(path.parent)
    except BaseException:
        remove(beside)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 file, or leave the old one."""
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8")


def create(path: Path, write: Callable[[Path], object]) -> bool:
    """Make a whole file where there is none of its name; returns False, and leaves it, where another was first.

    write: takes the path of a file beside it. Of several processes, on any machines of a file system, one succeeds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        write(beside)
        flush(beside)
        os.link(beside, path)
        flush(path.parent)
    except FileExistsError:
        return False
    finally:
        remove(beside)
    return True


def write_if_changed(path: Path, text: str) -> None:
    """Write a whole UTF-8 file, unless it holds the text already."""
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_below(folder: Path, *, hidden: bool = False) -> list[Path]:
    """The files of a folder at any depth, sorted. hidden: also hidden files, and those in hidden folders.

    Links to folders are followed. Every real folder is read once, so a circle of links ends; a link to a folder around
    `folder` is passed over. Links that lead nowhere are listed too. Raises UserError for a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: the folder cannot be read ({error.strerror}); correct its permissions")

    found: list[Path] = []
    seen: set[Path] = set()
    starts = [folder]
    for start in starts:  # links are appended on the way: real folders keep their own names
        for here, folders, files in os.walk(start, onerror=refuse):
            place = Path(here).resolve()
            is_around = place in folder.resolve().parents
            is_passed_over = place in seen or is_around
            folders[:] = [] if is_passed_over else sorted(name for name in folders if hidden or name[0] != ".")
            if not is_passed_over:
                found += [Path(here, name) for name in files if hidden or name[0] != "."]
            seen.add(place)
            starts += [Path(here, name) for name in folders if Path(here, name).is_symlink()]
    return sorted(found)


def flush(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing happens where it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def disk_problem(error: BaseException, place: Path) -> str | None:
    """What is wrong with a disk, with the remedy; None for an error, or its causes, of another kind.

    Databases wrap the system's error into one of their own, with its text. place: used where the error names no file.
    """
    for one in causes(error):
        number = one.errno if isinstance(one, OSError) else _number_in(str(one))
        if number in _PROBLEMS:
            named = isinstance(one, OSError) and isinstance(one.filename, str | bytes)
            return _problem(number, Path(os.fsdecode(one.filename)) if named else place)  # type: ignore[attr-defined]
    return None


_PROBLEMS: dict[int | None, str] = {
    errno.ENOSPC: "{place}: the disk at {disk} is full: {free} of {total} are free, more are needed; free some space",
    errno.EDQUOT: "{place}: your quota on the disk at {disk} is used up; free some space, or ask for more",
    errno.EFBIG: "{place}: the file would be larger than `ulimit -f` or the disk at {disk} allows; raise the limit",
    errno.EROFS: "{place}: the disk at {disk} is mounted read-only; mount it for writing, or use another folder",
    errno.EACCES: "{place}: user {user} may not read or write here; change its owner or permissions",
    errno.EPERM: "{place}: the system does not allow this to user {user}; change its owner or permissions",
    errno.EMFILE: "{place}: this process has {files} files open, as many as it may; raise `ulimit -n`",
    errno.ENFILE: "{place}: the machine has as many files open as it may; close other programs",
    errno.EIO: "{place}: the disk at {disk} reports an error; look at the system's log, and check the disk",
    errno.ENOTDIR: "{place}: a part of this path is a file, where a folder is needed; use another path",
    errno.EEXIST: "{place}: there is a file of this name, where a folder is needed; use another path",
    errno.ENAMETOOLONG: "{place}: the name is longer than the disk at {disk} takes; use a shorter one",
}
_NEARLY_FULL_BYTES = 1_000_000
_SIGNS = {
    errno.ENOSPC: ("No space left on device", "database or disk is full"),
    errno.EDQUOT: ("Disk quota exceeded",),
    errno.EROFS: ("Read-only file system", "attempt to write a readonly database"),
    errno.EMFILE: ("Too many open files",),
    errno.EIO: ("disk I/O error", "Input/output error"),
    errno.EACCES: ("Permission denied",),
}


def _number_in(text: str) -> int | None:
    return next((number for number, signs in _SIGNS.items() if any(sign in text for sign in signs)), None)


def _problem(number: int | None, place: Path) -> str:
    there = place.absolute()
    while not os.access(there, os.F_OK) and there != there.parent:
        there = there.parent
    usage, disk = shutil.disk_usage(there), there.resolve()
    while not disk.is_mount():
        disk = disk.parent
    if number == errno.EIO and usage.free < _NEARLY_FULL_BYTES:
        number = errno.ENOSPC  # SQLite says `disk I/O error` where it cannot make its journal longer
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _PROBLEMS[number].format(
        place=place,
        disk=disk,
        free=f"{usage.free / 1e6:,.0f} MB",
        total=f"{usage.total / 1e6:,.0f} MB",
        user=os.environ.get("USER") or os.getuid(),
        files=files,
    )

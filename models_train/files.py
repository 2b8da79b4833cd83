"""Files and folders that are whole or not there: written under another name, flushed to disk, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models_train.errors import UserError


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


def write_if_changed(path: Path, text: str) -> None:
    """Write a whole UTF-8 file, unless it holds the text already."""
    if not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)


def files_below(folder: Path) -> list[Path]:
    """The files of a folder at any depth, sorted; hidden files and folders do not count.

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
            folders[:] = [] if place in seen or is_around else sorted(name for name in folders if name[0] != ".")
            if place not in seen and not is_around:
                found += [Path(here, name) for name in files if name[0] != "."]
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

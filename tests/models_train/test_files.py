"""Files and folders are whole or as they were."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models_train.files import atomic_path, create, disk_problem, files_below


def folder(path: Path, text: str) -> None:
    with atomic_path(path) as beside:
        beside.mkdir()
        (beside / "content").write_text(text)


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for text in ("old", "new"):
        folder(tmp_path / "made", text)
    assert (tmp_path / "made" / "content").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "made", "old")
    rename = os.rename

    def refuse_new(origin: Path, target: Path) -> None:
        if target == tmp_path / "made" and (origin / "content").read_text() == "new":
            raise OSError("the disk is gone")
        rename(origin, target)

    monkeypatch.setattr(os, "rename", refuse_new)
    with pytest.raises(OSError, match="the disk is gone"):
        folder(tmp_path / "made", "new")
    assert (tmp_path / "made" / "content").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_files_below_follow_links_to_folders_and_read_each_once(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for path in (here / "a" / "1", here / "b" / ".hidden" / "2", here / ".3", there / "c" / "4", there / "5"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    (here / "a" / "linked").symlink_to(there)
    (here / "b" / "inner").symlink_to(there / "c")
    (here / "a" / "self").symlink_to(here)
    (here / "around").symlink_to(tmp_path)
    (there / "back").symlink_to(here / "a")
    (here / "file").symlink_to(there / "5")
    (here / "nowhere").symlink_to(tmp_path / "missing")
    (here / "loop").symlink_to(here / "loop")
    found = [path.relative_to(here).as_posix() for path in files_below(here)]
    assert found == ["a/1", "a/linked/5", "a/linked/c/4", "file", "loop", "nowhere"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, r"the disk at /.* is full: [\d,]+ MB of [\d,]+ MB are free"),
        (errno.EDQUOT, "your quota on the disk at /.* is used up"),
        (errno.EROFS, "the disk at /.* is mounted read-only"),
        (errno.EACCES, "user .+ may not read or write here"),
        (errno.EMFILE, "this process has [0-9]+ files open"),
        (errno.EIO, "the disk at /.* reports an error"),
    ],
)
def test_what_is_wrong_with_a_disk_is_told(number: int, said: str, tmp_path: Path) -> None:
    file = tmp_path / "parts" / "x.parquet"
    text = disk_problem(OSError(number, os.strerror(number), str(file)), tmp_path)
    assert text is not None and re.search(f"^{re.escape(str(file))}: {said}", text)


def test_a_full_disk_is_told_by_the_system_and_by_a_database(tmp_path: Path) -> None:
    with pytest.raises(OSError) as full, open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")
    with sqlite3.connect(":memory:") as base, pytest.raises(sqlite3.OperationalError) as lite:
        base.execute("pragma max_page_count = 2")
        base.execute("create table a (b)")
        base.execute("insert into a values (zeroblob(100000))")
    wrapped = RuntimeError("could not store the event")
    wrapped.__cause__ = lite.value
    for error in (full.value, lite.value, wrapped):
        text = disk_problem(error, tmp_path)
        assert text is not None and text.startswith(f"{tmp_path}: the disk at ") and "is full" in text


def test_too_many_open_files_are_told(tmp_path: Path) -> None:
    code = (
        "import resource; from pathlib import Path; from models_train.files import disk_problem\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)); held = []\n"
        "try:\n    while True: held.append(open('/dev/null'))\n"
        "except OSError as error:\n    text = disk_problem(error, Path('.'))\n    held.clear()\n    print(text)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "this process has 20 files open, as many as it may; raise `ulimit -n`" in done.stdout


def test_other_errors_are_not_of_the_disk(tmp_path: Path) -> None:
    for error in (ValueError("no"), FileNotFoundError(errno.ENOENT, "No such file", "x")):
        assert disk_problem(error, tmp_path) is None


def test_an_error_of_sqlite_on_a_full_disk_is_that_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    assert "reports an error" in str(disk_problem(error, tmp_path))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    assert "is full: 0 MB of" in str(disk_problem(error, tmp_path))


def test_of_processes_that_create_the_same_file_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "name"

    def made(text: str) -> bool:
        return create(path, lambda beside: beside.write_text(text))

    with ThreadPoolExecutor(8) as pool:
        for n in range(20):
            path.unlink(missing_ok=True)
            texts = [f"{n} of {i}" for i in range(8)]
            done = list(pool.map(made, texts))
            assert done.count(True) == 1 and path.read_text() == texts[done.index(True)]
    with pytest.raises(ZeroDivisionError):
        create(path.with_name("other"), lambda beside: beside.write_text(str(1 / 0)))
    assert [one.name for one in path.parent.iterdir()] == ["name"]

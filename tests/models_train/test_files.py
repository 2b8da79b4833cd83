"""Files and folders are whole or as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models_train.files import atomic_path, files_below


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

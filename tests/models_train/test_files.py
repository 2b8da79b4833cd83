"""Files and folders are whole or as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models_train.files import atomic_path


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

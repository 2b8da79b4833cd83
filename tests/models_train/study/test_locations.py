"""Where models and data lie, and what names their content."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models_train.study.fingerprints import LocationError, content_of, is_local, resolve


@pytest.mark.parametrize(
    ("hub_id", "local"),
    [
        ("meta-llama/Llama-3.2-1B", False),
        ("gpt2", False),
        (".hidden/name", False),
        ("/models/a", True),
        ("./a", True),
        ("../a", True),
        ("~/a", True),
        ("$REWARDBASE_HOME/zoo/a", True),
        ("${HOME}/a", True),
    ],
)
def test_a_folder_is_told_from_a_hub_id(hub_id: str, local: bool) -> None:
    assert is_local(hub_id) is local


def test_paths_begin_at_the_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "study"
    (folder / "data").mkdir(parents=True)
    (tmp_path / "beside").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", str(folder / "data"))
    monkeypatch.chdir("/")
    for path in ("data", "./data", "$DATA", "${DATA}", "~/study/data", str(folder / "data"), "data/../data"):
        assert resolve(path, folder) == folder / "data"
    assert resolve("../beside", folder) == tmp_path / "beside"


def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(LocationError, match=r"\$NOT_SET/a: the variable in it is not set; set it, or write"):
        resolve("$NOT_SET/a", tmp_path)
    with pytest.raises(LocationError, match=f"./a: there is no {tmp_path}/a; correct the path in the study file"):
        resolve("./a", tmp_path)


def files(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def test_content_is_names_and_bytes_not_place_or_time(tmp_path: Path) -> None:
    one = files(tmp_path / "one", a="1", sub__b="2")
    other = files(tmp_path / "other", sub__b="2", a="1")
    os.utime(other / "a", (1, 1))
    assert content_of(one) == content_of(other) and len(content_of(one)) == 64
    files(other, **{".cache": "x", ".git__config": "y"})
    assert content_of(one) == content_of(other)
    different = {
        content_of(files(tmp_path / name, **contents))
        for name, contents in (
            ("c", {"a": "2", "sub__b": "1"}),
            ("d", {"a": "12", "sub__b": ""}),
            ("e", {"a": "1", "b": "2"}),
            ("f", {"a": "1"}),
            ("g", {"b": "1"}),
        )
    } | {content_of(one), content_of(one / "a")}
    assert len(different) == 7


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = files(tmp_path, a="1") / "a"
    before = content_of(path)
    assert content_of(path) == before
    path.write_text("2")
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    assert content_of(path) != before


def test_links_count_as_what_they_lead_to(tmp_path: Path) -> None:
    """A hub's cache holds links to its files."""
    real = files(tmp_path / "real", a="1")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "a").symlink_to(real / "a")
    assert content_of(linked) == content_of(real)

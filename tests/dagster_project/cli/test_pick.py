"""`make pick`: which study a name or a path means, and what is refused before anything begins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dagster_project.cli import pick
from models_train.errors import UserError
from tests.support.race_studies import STUDY_ID, write_study


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_study(tmp_path / "studies").parent
    monkeypatch.setattr(pick.environment, "STUDIES", folder)
    return folder


def options(**changes: object) -> dict[str, object]:
    return {"budget": None, "objective": None, "indifference": None} | changes


def test_a_study_is_named_by_its_id_its_file_or_its_folder(studies: Path) -> None:
    for name in (STUDY_ID, str(studies / "study.yaml"), str(studies)):
        assert pick.folder_of(name) is None
        assert pick.wanted(name, options(budget="40M")) == (STUDY_ID, {"budget": "40M"})


def test_a_path_elsewhere_is_read_as_a_folder_of_its_own(studies: Path) -> None:
    assert pick.folder_of(str(pick.EXAMPLE)) == pick.EXAMPLE.resolve()
    assert pick.folder_of(str(pick.EXAMPLE / "smollm2.yaml")) == pick.EXAMPLE.resolve()
    assert pick.folder_of("no/such/folder") is None


@pytest.mark.parametrize(
    ("name", "asked", "problem"),
    [
        ("race", {}, "STUDY=race: no study of this name in .*; did you mean 'raced'?"),
        (STUDY_ID, {"budget": "soon"}, "budget: 'soon' is no budget; give device hours, such as 20h, or tokens"),
        (STUDY_ID, {"objective": "dpo"}, "objective: 'dpo' should be"),
        (STUDY_ID, {"indifference": -1.0}, "indifference: -1.0 should be"),
    ],
)
def test_what_cannot_race_is_refused_by_a_sentence(
    studies: Path, name: str, asked: dict[str, object], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        pick.wanted(name, options(**asked))


def test_a_study_that_does_not_train_cannot_race(studies: Path) -> None:
    path = write_study(studies, training=None, race=None)
    with pytest.raises(UserError, match=re.escape("study.yaml: the study raced trains no reward models; add a group")):
        pick.wanted(STUDY_ID, options())
    assert path.parent == studies


def test_points_are_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pick.main(["--study", "raced", "--indifference", "half"])
    assert "'half' is no number of points, such as 0.5" in capsys.readouterr().err

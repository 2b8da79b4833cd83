"""Errors of the job that makes a lab; tests/dagster_project/test_lab.py makes one."""

from __future__ import annotations

from pathlib import Path

import pytest

from models_train.jobs.make_lab import main

pytestmark = pytest.mark.slow

STUDIES = Path(__file__).resolve().parents[3] / "dagster_project" / "studies"


def said(study: Path, home: Path) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["--study", str(study), "--home", str(home), "--workers", "1"])
    return str(ended.value.code)


def test_a_study_without_a_lab(tmp_path: Path) -> None:
    assert said(STUDIES / "published.yaml", tmp_path).endswith("has no lab to make; add a group `lab`")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("in the way")
    message = said(STUDIES / "lab.yaml", tmp_path)
    assert message.startswith("the lab could not be written: ") and str(tmp_path / "lab") in message


def test_a_study_file_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("study_id: 1\n")
    assert "wrong.yaml:1: study_id: 1 must be text" in said(tmp_path / "wrong.yaml", tmp_path)

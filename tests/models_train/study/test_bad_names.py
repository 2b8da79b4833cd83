"""Bad names in a study file: refused with the line and the reason, or taken as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models_train.study.study import load_study
from models_train.study.yaml_lines import StudyError
from tests.support.bad_names import ALLOWED, REFUSED

STUDY = """\
study_id: small
title: One model
synthetic: true
source: made for a test
size_groups:
  - {{name: all, params_b_from: 0, default: {name}}}
models:
  - {{model_id: {name}, hub_id: someone/tiny, family: T, stage: base, params_b: 1}}
"""


def write(folder: Path, name: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(name=json.dumps(name, ensure_ascii=False)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", REFUSED, ids=ascii)
def test_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    with pytest.raises(StudyError) as caught:
        load_study(path)
    assert f"{path}:8: models[0].model_id: " in str(caught.value) and REFUSED[name] in str(caught.value)
    assert all(character.isprintable() for line in str(caught.value).splitlines() for character in line)


@pytest.mark.parametrize("name", ALLOWED, ids=ascii)
def test_taken_as_it_is(tmp_path: Path, name: str) -> None:
    assert load_study(write(tmp_path, name)).model_ids == (name,)

"""The JSON schema of study files: current, named in every shipped study, and in agreement with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from models_train.study.fingerprints import lab_run_id
from models_train.study.schema import SCHEMA_FILE, main, schema_text
from models_train.study.study import Study, load_study

STUDIES = Path(__file__).resolve().parents[3] / "dagster_project" / "studies"
SHIPPED = sorted(STUDIES.rglob("*.yaml"))
SCHEMA = json.loads(schema_text())


def errors(data: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(data)]


def test_the_shipped_schema_is_current(tmp_path: Path) -> None:
    main([str(tmp_path / SCHEMA_FILE)])
    written = (tmp_path / SCHEMA_FILE).read_text(encoding="utf-8")
    assert (STUDIES / SCHEMA_FILE).read_text(encoding="utf-8") == written, "run `make schema`"
    with pytest.raises(SystemExit, match="usage"):
        main([])


def test_every_field_has_a_description() -> None:
    groups = {"Study": SCHEMA, **SCHEMA["$defs"]}
    bare = [f"{name}.{key}" for name, group in groups.items() for key, field in group["properties"].items()
            if len(field.get("description", "")) < 8]  # fmt: skip
    assert len(groups) > 12 and bare == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_studies_name_the_schema_and_fit_it(path: Path) -> None:
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert named != first and (path.parent / named).resolve() == STUDIES / SCHEMA_FILE
    assert errors(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"titel": "x"}, "'titel' was unexpected"),
        ({"study_id": "My-1"}, "does not match"),
        ({"predicted_targets": []}, "should be non-empty"),
        ({"training": {"precision": "float16"}}, "is not valid under any of the given schemas"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(change: dict[str, Any], said: str) -> None:
    settings = yaml.safe_load((STUDIES / "published.yaml").read_text(encoding="utf-8")) | change
    assert any(said in text for text in errors(settings))
    with pytest.raises(ValueError, match=next(iter(change))):
        Study.model_validate(settings)


def test_comments_change_no_run_id(tmp_path: Path) -> None:
    text = (STUDIES / "lab.yaml").read_text(encoding="utf-8")
    assert text.startswith("#")
    (tmp_path / "lab.yaml").write_text(text.split("\n", 1)[1], encoding="utf-8")
    one, other = load_study(STUDIES / "lab.yaml"), load_study(tmp_path / "lab.yaml")
    assert one == other and lab_run_id(one) == lab_run_id(other)

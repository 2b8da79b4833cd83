"""JSON schema of study files, for completion and hints in editors.

`python -m models_train.study.schema <file>` writes it. A study file names it in its first line:
`# yaml-language-server: $schema=./schema.json`. It covers fields; contradictions between them are found by `checks`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from models_train.files import write_text
from models_train.study.study import Study

SCHEMA_FILE = "schema.json"
"""Name of the schema's file, beside the study files."""


class _StudySchema(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a title would only repeat the key


def schema_text() -> str:
    """The JSON schema of a study file, as text."""
    schema = Study.model_json_schema(schema_generator=_StudySchema)
    content = {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "Study file of Rewardbase"}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the schema to the file given, or report the usage."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        raise SystemExit("usage: python -m models_train.study.schema <file>")
    write_text(Path(given[0]), schema_text())


if __name__ == "__main__":
    main()

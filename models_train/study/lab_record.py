"""Record of a lab: what it was last made from, and the content of every file, to compare with what lies there.

`<lab folder>/made.json` is written before anything is made, without a name, and at the end with the name of the lab: a
lab whose making was interrupted has none, whichever settings come next. Torch-free.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from models_train.files import write_text
from models_train.study.fingerprints import content_of, lab_run_id
from models_train.study.lab import DATA_SETS, TASKS, Lab, lab_folder, model_folder
from models_train.study.study import Study

NAME = "made.json"

Contents = Mapping[str, str]
"""Content hash of each file or folder of a lab, by its path within the lab's folder."""


def is_made(home: Path, study: Study) -> bool:
    """True where the lab of a study lies in the home, made from its present settings, and as it was made."""
    folder = lab_folder(home, study.study_id)
    made_from, contents = read_record(folder)
    return study.lab is not None and made_from == lab_run_id(study) and contents == contents_of(folder, study.lab)


def read_record(folder: Path) -> tuple[str | None, Contents]:
    """Name of what a lab was made from, None where its making did not end; and the contents. None of a lost record."""
    try:
        record = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return record["made_from"], dict(record["contents"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, {}


def write_record(folder: Path, made_from: str | None, contents: Contents) -> None:
    """Write the record in place of the last one."""
    write_text(folder / NAME, json.dumps({"made_from": made_from, "contents": dict(contents)}, indent=1) + "\n")


def contents_of(folder: Path, lab: Lab) -> Contents:
    """Contents of the data sets, tasks and models that lie in the folder."""
    places = [*(folder / name for name in (*DATA_SETS, TASKS)), *(model_folder(folder, m.model_id) for m in lab.models)]
    return {place.relative_to(folder).as_posix(): content_of(place) for place in places if place.exists()}

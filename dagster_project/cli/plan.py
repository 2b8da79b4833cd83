"""`python -m dagster_project.cli.plan`: plan the document scoring of a study that is named by its id or its file."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dagster_project import environment
from models_train.errors import UserError, close_match
from models_train.study.study import STUDY_FILES
from models_train.study.yaml_lines import StudyError, parse_yaml

_EXAMPLES = environment.PROJECT / "studies" / "examples"
_FLAGS = ("gpus", "device", "price", "preemption", "probe")


def main(arguments: Sequence[str] | None = None) -> int:
    """Find the study file and hand over to the job; returns the exit status where there is none."""
    parser = argparse.ArgumentParser(prog="python -m dagster_project.cli.plan", description=__doc__)
    parser.add_argument("--study", default="", help="study_id, or a study file")
    for flag in _FLAGS:
        parser.add_argument(f"--{flag}", default="")
    options = vars(parser.parse_args(arguments))
    try:
        home = environment.prepare()
        path = study_file(options["study"].strip(), environment.STUDIES)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    given = [f"--{flag}={options[flag]}" for flag in _FLAGS]
    job = [sys.executable, "-m", "models_train.jobs.plan", "--study", str(path), "--home", str(home.root), *given]
    os.execv(job[0], job)


def study_file(named: str, folder: Path) -> Path:
    """The file of a study. named: a path, or the id of a study of the folder or of an example. Raises UserError."""
    if not named:
        raise UserError("state which study to plan: make plan STUDY=paper GPUS=64")
    if named.endswith((".yaml", ".yml")) or "/" in named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise UserError(f"STUDY={named}: there is no such file; write a study's id, or the path of its file")
        return path.absolute()
    known = {}
    for path in (*sorted(_EXAMPLES.rglob(STUDY_FILES)), *sorted(folder.glob(STUDY_FILES))):
        try:
            document = parse_yaml(path).data
        except StudyError:
            continue  # another study than the one that is asked for, or the list of those that are known lacks it
        if isinstance(document, dict) and isinstance(document.get("study_id"), str):
            known[document["study_id"]] = path
    if named not in known:
        raise UserError(f"STUDY={named}: no study file in {folder} has this study_id; {close_match(named, known)}")
    return known[named].absolute()


if __name__ == "__main__":
    sys.exit(main())

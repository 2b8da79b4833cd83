"""`python -m dagster_project.cli.pick`: race the base models of a study, publish, and print which one to train.

The study is a study_id of the folder of study files, or a path. Nothing else of the study is trained.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from dagster_project import environment
from dagster_project.cli import run as make_run
from models_train.errors import UserError, close_match
from models_train.processes import INTERRUPTED, leave
from models_train.study.race_ids import race_plan
from models_train.study.study import STUDY_FILES, Study, load_studies
from warehouse.connection import WarehouseError, read
from warehouse.paths import VARIABLE, Home

EXAMPLE = environment.PROJECT / "studies" / "examples" / "smollm2"
"""Study of `make example`, which has a home of its own, and models that are made there."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Race; returns the exit status: 0 with an answer, 1 after a failure, 130 after Ctrl-C or SIGTERM."""
    options = _parser().parse_args(arguments)
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    try:
        if (folder := folder_of(options.study)) is not None:
            _begin_in(folder)
        home = environment.prepare()
        study_id, asked = wanted(options.study, vars(options))
        failures = make_run.failures_of(home, partial(make_run.race, home, console, study_id, asked))
    except KeyboardInterrupt:
        errors.print("Interrupted. The same command goes on with the race.")
        return INTERRUPTED
    except UserError as error:
        failures = [str(error)]
    for failure in failures:
        errors.print(failure, markup=False, soft_wrap=True)
    return 1 if failures else _print_answer(home, study_id, asked.get("objective"), console, errors)


def folder_of(study: str) -> Path | None:
    """The folder of study files that a path names; None for a study_id, and for the folder that is in use."""
    path = Path(study).expanduser()
    if not path.exists() or ("/" not in study and not path.suffix):
        return None
    folder = (path if path.is_dir() else path.parent).resolve()
    return None if folder == environment.STUDIES.resolve() else folder


def _begin_in(folder: Path) -> None:
    """Read the study files of another folder; the example's models are made first, in its home. Raises UserError."""
    if folder == EXAMPLE.resolve():
        home = Home.from_environment().root
        home = home if home.name == "example" else home / "example"
        made = [sys.executable, "-m", "models_train.modeling.smollm2", str(home)]
        if subprocess.run(made, check=False).returncode:
            raise UserError("the models of the example could not be made; the message above says why")
        os.environ[VARIABLE] = str(home)
    os.environ[environment.STUDIES_VARIABLE] = str(folder)
    os.execv(sys.executable, [sys.executable, "-m", "dagster_project.cli.pick", *sys.argv[1:]])


def wanted(study: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """study_id, and the settings that are asked for in place of the study's. Raises UserError where there is no such
    study, or it has no race to run."""
    studies = load_studies(environment.STUDIES)
    path, found = _named(studies, study)
    asked = {name: options[name] for name in ("budget", "objective", "indifference") if options.get(name) is not None}
    if found.hub is None:  # else its answer is looked up first, which may have more base models
        race_plan(found, path.name, asked)
    return found.study_id, asked


def _named(studies: Mapping[Path, Study], study: str) -> tuple[Path, Study]:
    place = Path(study).expanduser().resolve()
    by_id = {one.study_id: (path, one) for path, one in studies.items()}
    if study in by_id:
        return by_id[study]
    inside = [(path, one) for path, one in studies.items() if path.resolve() == place]
    if place.is_dir() and len(studies) == 1 and place == environment.STUDIES.resolve():
        inside = list(studies.items())
    if inside:
        return inside[0]
    hint = close_match(study, by_id, "there are") if by_id else f"there is no study file ({STUDY_FILES}) in it"
    raise UserError(f"STUDY={study}: no study of this name in {environment.STUDIES}; {hint}")


def _print_answer(home: Home, study_id: str, objective: str | None, console: Console, errors: Console) -> int:
    from warehouse.cli.race import print_races

    try:
        with read(home.current) as connection:
            print_races(connection, console, study_id, objective)
    except (WarehouseError, UserError) as error:
        errors.print(str(error), markup=False, soft_wrap=True)
        return 1
    console.print()
    console.print(f"Report: {home.reports / 'base_model_choice.html'}", markup=False, soft_wrap=True)
    return 0


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of points, such as 0.5") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dagster_project.cli.pick", description=__doc__)
    parser.add_argument("--study", required=True, help="study_id, or a study file or its folder")
    parser.add_argument("--budget", help="device hours, such as 20h, or tokens, such as 40M (default: the study's)")
    parser.add_argument("--objective", help="objective of the reward models (default: the study's)")
    parser.add_argument("--indifference", type=_number, help="difference that does not matter, in points")
    return parser


if __name__ == "__main__":
    status = main()
    if status == INTERRUPTED:
        leave(status)
    sys.exit(status)

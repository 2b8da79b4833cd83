"""`python -m dagster_project.cli.verify`: compare everything that is kept with its checksums; changes nothing.

Parts, page by page (those of earlier versions have no checksums but can be read or not); the warehouse, block by block;
the published snapshot and the report; and the labs. Each run compares snapshot, report and labs, too, and the warehouse
before it reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.console import Console

from dagster_project.environment import STUDIES
from dagster_project.lib.due import studies_with_parts
from models_train.errors import UserError
from models_train.parts import SUFFIX, is_whole
from models_train.store import Store
from models_train.study.lab_record import is_made
from models_train.study.study import load_studies
from warehouse.checksums import damage, damage_of_pictures
from warehouse.connection import read, read_every_block
from warehouse.contracts.studies import STUDIES as STUDY_TABLE
from warehouse.paths import Home
from warehouse.publish import snapshot_problem
from warehouse.reports import CHARTS_FOLDER, PAGE_NAME


def main() -> int:
    """Print what is not as it was written, with what to do; returns 1 then, and 0 where there is nothing."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    try:
        home = Home.from_environment()
        problems = list(found_problems(home))
    except UserError as error:
        errors.print(str(error), markup=False, soft_wrap=True)
        return 1
    for problem in problems:
        errors.print(problem, markup=False, soft_wrap=True)
    if not problems:
        text = f"Parts, warehouse, snapshot, report and labs in {home.root} are as they were written."
        console.print(text, markup=False, soft_wrap=True)
    return 1 if problems else 0


def found_problems(home: Home) -> Iterator[str]:
    """A sentence for everything that is not as it was written."""
    store = Store.at(home.parts)
    for item in store.list():
        if item.key.endswith(SUFFIX) and not is_whole(part := store.place(item.key)):
            yield f"{part} is damaged; remove it and run `make run`, which makes it again"
    if problem := snapshot_problem(home):
        yield f"{home.current}: {problem}; run `make run`, which publishes it again"
    if problem := damage(home.reports, home.reports / PAGE_NAME):
        yield f"{home.reports}: {problem}; run `make run`, which makes the report again"
    if problem := damage_of_pictures(home.reports / CHARTS_FOLDER):
        yield f"{home.reports / CHARTS_FOLDER}: {problem}; run `make run`, which draws the charts again"
    try:
        with read(home.warehouse) as connection:
            read_every_block(connection)
    except UserError as error:
        yield f"{error}; `make rebuild` builds it from the parts at once"
    try:
        studies = [study for study in load_studies(STUDIES).values() if study.lab]
    except UserError as error:
        yield str(error)
        return
    are_there = studies_with_parts(home, STUDY_TABLE.name) if studies else set()
    for study in studies:
        # `make quick` leaves a lab out, with everything else of its study.
        if study.study_id in are_there and not is_made(home.root, study):
            yield f"the lab {study.study_id} is not as its study file says; run `make run`, which makes what is missing"


if __name__ == "__main__":
    sys.exit(main())

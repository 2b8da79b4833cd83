"""`python -m warehouse.cli.race`: the answers of the races of a study, from the published snapshot."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console

from models_train.errors import UserError
from warehouse.cli.answer import line
from warehouse.connection import Connection, read
from warehouse.paths import Home
from warehouse.reports import labels, queries
from warehouse.reports.elements import Study
from warehouse.reports.recommended import plain
from warehouse.reports.topics import race

WIDTH = 96
HOW_TO_READ = (
    "Lead: expected accuracy at the full data less that of the base model named behind it, in points, with an interval "
    "that holds however often one looks. Tokens: of training; one that is scored counts a third."
)


def print_races(connection: Connection, console: Console, study_id: str, objective: str | None = None) -> None:
    """Print who won each race of a study, how sure that is, what it cost, and why each other one was dropped.

    objective: None for all. Raises UserError for a study or an objective without a race.
    """
    answers = queries.races_of(connection, study_id, objective)
    (row,) = (row for row in queries.studies(connection).to_dicts() if row["study_id"] == study_id)
    study = Study.of(connection, row, labels.slug(study_id))
    rungs = race.race_rungs(study)
    line(console)
    line(console, "Which base model should I train my reward model on?", "bold")
    line(console, plain(study.title) + (" (synthetic data)" if study.synthetic else ""), "dim")
    for one, part in queries.parts(answers, "objective"):
        (found,) = part.filter(method="race").to_dicts()
        _print(console, found, rungs.filter(objective=one))
    line(console)
    for text in textwrap.wrap(HOW_TO_READ, WIDTH):
        line(console, text, "dim")


def _print(console: Console, found: Mapping[str, Any], rungs: pl.DataFrame) -> None:
    line(console)
    line(console, plain(labels.objective(found["objective"])), "bold")
    line(console, f"  {plain(found['winner'] or 'no answer')}", "green")
    _wrapped(console, race.answer_text(found))
    _wrapped(console, race.cost_text(found))
    for row in race.last_rungs(rungs, found):
        if row["model_id"] == found["winner"]:
            continue
        standing = race.standing(row, found)
        line(console, f"  {plain(row['model_id'])}: {standing}, {row['n_examples']:,} examples")
        lead = labels.number(row["estimate_points"], signed=True, missing="")
        interval = labels.interval(row["low_points"], row["high_points"], signed=True)
        against = f" Lead over {row['against']}: {lead} points ({interval})." if lead and row["against"] else ""
        _wrapped(console, f"{race.why(row)}{against}")


def _wrapped(console: Console, text: str) -> None:
    for part in textwrap.wrap(
        plain(text), WIDTH, initial_indent="    ", subsequent_indent="    ", break_long_words=False
    ):
        line(console, part, "dim")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 1 with a message where there is no answer."""
    parser = argparse.ArgumentParser(prog="python -m warehouse.cli.race", description=__doc__)
    parser.add_argument("--study", required=True, help="study_id")
    parser.add_argument("--objective", help="regression or bradley_terry (default: all)")
    options = parser.parse_args(arguments)
    try:
        with read(Home.from_environment().current) as connection:
            print_races(connection, Console(highlight=False), options.study, options.objective)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

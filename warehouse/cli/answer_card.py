"""`make answer-card`: one question with its answer as a picture (PNG and PDF), from the published snapshot."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_train.errors import UserError, close_match
from warehouse.cli.recommend import NO_MEMORY, billions, gibibytes
from warehouse.connection import Connection, read
from warehouse.paths import Home
from warehouse.reports import labels, queries
from warehouse.reports.card import card, write_card
from warehouse.reports.choices import Choice, of_policy, of_score, on_benchmarks
from warehouse.reports.elements import Study
from warehouse.reports.recommended import Limits, recommendations, recommendations_for_policy, studies_named

NAME = "answer_card"
"""Name of the files in the folder of reports."""


def choice_of(connection: Connection, options: argparse.Namespace) -> Choice:
    """The choice that is asked for; of several studies or objectives the first one. Raises UserError."""
    if options.benchmark is not None:
        return _on_benchmark(connection, options)
    if options.policy is not None or options.use is not None:
        if options.memory is not None:
            raise UserError(NO_MEMORY)
        ((study, frame), *_) = recommendations_for_policy(
            connection, options.policy, options.use, options.max_params, options.objective, options.study
        )
        every = queries.teacher_recommendations(connection, study["study_id"])
        names_gold = every["gold_id"].n_unique() > 1
        return of_policy(_study(connection, study), frame.row(0, named=True), names_gold=names_gold)
    within = Limits(options.max_params, options.memory)
    found = recommendations(connection, within, options.objective, options.study, sys.maxsize)
    study, one = next((study, one) for study, answers in found for one in answers if one.rows)
    return of_score(_study(connection, study), one.objective, within, one)


def _on_benchmark(connection: Connection, options: argparse.Namespace) -> Choice:
    found: dict[str, Choice] = {}
    for row in studies_named(connection, options.study):
        for one in on_benchmarks(_study(connection, row)):
            found.setdefault(one.purpose.removeprefix("benchmark:"), one)
    if options.benchmark not in found:
        hint = close_match(options.benchmark, found, "there are", most=len(found)) if found else "there is none yet"
        raise UserError(f"There are no rewards on a benchmark {options.benchmark!r}; {hint}.")
    return found[options.benchmark]


def _study(connection: Connection, row: Mapping[str, Any]) -> Study:
    return Study.of(connection, row, labels.slug(str(row["study_id"])))


def _foot(connection: Connection, choice: Choice, snapshot: str) -> str:
    (row,) = studies_named(connection, choice.study)
    return f"Study {row['study_id']}: {row['title']}. Source: {row['source']}. Snapshot {snapshot}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 1 with a message where there is no answer."""
    parser = argparse.ArgumentParser(prog="python -m warehouse.cli.answer_card", description=__doc__)
    parser.add_argument("--max-params", type=billions, help="largest size, in billions of parameters (default: any)")
    parser.add_argument("--memory", type=gibibytes, help="memory of the device to train on, in GiB (default: any)")
    parser.add_argument("--objective", help="regression or bradley_terry (default: the first of the study)")
    parser.add_argument("--policy", help="policy that the reward model is to teach")
    parser.add_argument("--use", help="what it is for, with a policy")
    parser.add_argument("--benchmark", help="benchmark of reward models, instead of the score of base models")
    parser.add_argument("--study", help="study (default: the first with an answer)")
    parser.add_argument(
        "--to", type=Path, action="append", help="file to write, .png, .pdf or .svg (default: PNG and PDF in reports/)"
    )
    options = parser.parse_args(arguments)
    home = Home.from_environment()
    paths = options.to or [home.reports / f"{NAME}{ending}" for ending in (".png", ".pdf")]
    try:
        with read(home.current) as connection:
            choice = choice_of(connection, options)
            svg = card(choice, _foot(connection, choice, home.current.resolve().stem))
        for path in paths:
            write_card(svg, path)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(choice.text)
    print("\n".join(str(path) for path in paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())

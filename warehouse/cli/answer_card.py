"""`make answer-card`: one question with its answer as a picture (PNG and PDF), from the published snapshot."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models_train.errors import UserError, close_match
from warehouse.cli.recommend import billions, gibibytes
from warehouse.connection import Connection, read
from warehouse.paths import Home
from warehouse.reports import labels, queries
from warehouse.reports.card import card, write_card
from warehouse.reports.choices import Choice, choices, of_score
from warehouse.reports.elements import Study
from warehouse.reports.recommended import Limits, recommendations, recommendations_for_policy

NAME = "answer_card"
"""Name of the files in the folder of reports."""


def choice_of(connection: Connection, options: argparse.Namespace) -> Choice:
    """The choice that is asked for; of several studies or objectives the first one. Raises UserError."""
    if options.benchmark is not None:
        return _on_benchmark(connection, options)
    if options.policy is not None or options.use is not None:
        ((row, frame), *_) = recommendations_for_policy(
            connection, options.policy, options.use, options.max_params, options.objective, options.study
        )
        wanted = frame.to_dicts()[0]
        return next(
            one
            for one in choices(_study(connection, row["study_id"]))
            if one.purpose.startswith(f"policy:{wanted['policy_id']}:{wanted['use']}")
            and one.objective == wanted["objective"]
            and one.limit == ("any" if wanted["size_limit_b"] is None else f"{wanted['size_limit_b']:g}B")
        )
    within = Limits(options.max_params, options.memory)
    found = recommendations(connection, within, options.objective, options.study, sys.maxsize)
    row, one = next((row, one) for row, answers in found for one in answers if one.rows)
    return of_score(_study(connection, row["study_id"]), one.objective, within, one)


def _on_benchmark(connection: Connection, options: argparse.Namespace) -> Choice:
    studies = queries.studies(connection)["study_id"].to_list()
    names = [options.study] if options.study in studies else studies
    found = {
        one.purpose.removeprefix("benchmark:"): one
        for name in reversed(names)
        for one in choices(_study(connection, name))
        if one.purpose.startswith("benchmark:")
    }
    if options.benchmark not in found:
        hint = close_match(options.benchmark, found, "there are", most=len(found)) if found else "there is none yet"
        raise UserError(f"There are no rewards on a benchmark {options.benchmark!r}; {hint}.")
    return found[options.benchmark]


def _study(connection: Connection, study_id: str) -> Study:
    (row,) = queries.studies(connection).filter(study_id=study_id).to_dicts()
    return Study(connection, study_id, row["title"], row["source"], bool(row["synthetic"]), labels.slug(study_id))


def _foot(connection: Connection, choice: Choice, snapshot: str) -> str:
    study = _study(connection, choice.study)
    return f"Study {study.study_id}: {study.title}. Source: {study.source}. Snapshot {snapshot}."


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

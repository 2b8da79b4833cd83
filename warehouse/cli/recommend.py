"""`python -m warehouse.cli.recommend`: the best base models under a size limit, or for a policy, from the snapshot."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence

import polars as pl
from rich.console import Console

from models_train.errors import UserError
from warehouse.cli.answer import line
from warehouse.cli.recommend_for_policy import print_for_policy
from warehouse.connection import Connection, read
from warehouse.contracts.sizes import SIZE_RULE
from warehouse.paths import Home
from warehouse.reports import labels, queries
from warehouse.reports.recommended import Limits, Recommendation, plain, recommendations
from warehouse.training_memory import way_within

WIDTH = 96
_INDENT = " " * 5
HOW_TO_READ = (
    "Score: {basis}, with its 90 % interval. Gain: points "
    "over the default base model of the model's own size group. Best: chance of being the best within the limit. Both "
    "count test questions and training runs, which differ by a standard deviation of {noise}. =: not distinguishable "
    f"from the first. A size limit is {SIZE_RULE}."
)
MEMORY_RULE = (
    "Memory is an estimate from the number of parameters: one device, bfloat16, gradient checkpointing, pairs of two "
    "responses of 4,096 tokens. A run plans with the model's configuration, which decides."
)
NO_CHANCE = (
    "No chance of being best is given: it is computed for the stored size limits only ({limits}), and this limit is "
    "not one of them."
)
NO_MEMORY = "MEMORY is for a recommendation without a policy: leave out POLICY and USE, or MEMORY."


def print_recommendation(
    connection: Connection,
    console: Console,
    *,
    max_params: float | None,
    objective: str | None,
    study_id: str | None,
    top: int = 5,
    memory: float | None = None,
) -> None:
    """Print the `top` base models of at most max_params billion parameters (None: no limit), with reasons.

    memory: of the device to train on, in GiB; None: any. objective, study_id: None is all that there are. Raises
    UserError for a limit or a number of models that is not positive, an unknown objective or study, a limit that no
    model is under, and a mart that lacks a column.
    """
    limits = Limits(max_params, memory)
    shown = recommendations(connection, limits, objective, study_id, top)
    wanted = list(dict.fromkeys(one.objective for _, found in shown for one in found))
    limit = "" if max_params is None else f"of at most {max_params:g} billion parameters "
    limit += "" if memory is None else f"trainable in {memory:g} GiB "
    bases = {study["study_id"]: queries.score_basis(connection, study["study_id"]) for study, _ in shown}
    for study, found in shown:
        line(console)
        line(console, f"Which base model {limit}should I train my reward model on?", "bold")
        line(console, plain(study["title"]) + (" (synthetic data)" if study["synthetic"] else ""), "dim")
        if not any(one.rows for one in found):
            line(console, "  No recommendation: the study has no ranked model within the limit.")
        for one in found:
            _print(console, one, memory)
        weak = queries.near_chance_defaults(connection, study["study_id"]).filter(pl.col("objective").is_in(wanted))
        if weak.height:
            line(console)
            _wrapped(console, plain(labels.near_chance_defaults(weak.to_dicts(), bases[study["study_id"]])))
    line(console)
    noise = [row for study, _ in shown for row in queries.run_noise(connection, study["study_id"]).to_dicts()]
    texts = dict.fromkeys(f"{basis.text}, in percent ({basis.by_chance})" for basis in bases.values())
    reading = HOW_TO_READ.format(
        basis="; or ".join(texts), noise=labels.run_noise([row for row in noise if row["objective"] in wanted])
    )
    for text in textwrap.wrap(reading + ("" if memory is None else f" {MEMORY_RULE}"), WIDTH):
        line(console, text, "dim")


def _print(console: Console, one: Recommendation, memory: float | None) -> None:
    line(console)
    line(console, plain(labels.objective(one.objective)), "bold")
    names = [plain(row["model_id"]) for row in one.rows]
    width = min(max((len(name) for name in names), default=10), 44)
    if one.rows:
        line(console, f"  #  {'Base model':<{width}}  {'Score':>5}  {'90 % interval':<14}{'Gain':>6}{'Best':>8}  Basis")
    for row, name in zip(one.rows, names, strict=True):
        place = "=" if row["is_level"] else row["rank"]
        interval = labels.interval(row["interval_low"], row["interval_high"]) or "not known"
        best = labels.percent(row["probability_best"], missing="none")
        numbers = (
            f"{labels.number(row['expected_score']):>5}  {interval:<14}"
            f"{labels.number(row['gain_points_over_default'], signed=True):>6}{best:>8}  "
            f"{plain(labels.basis(row['basis']))}"
        )
        if len(name) > width:
            # Names are copied from the terminal, so a long one is not cut but takes a line.
            line(console, f"{place:>3}  {name}", "green" if row["rank"] == 1 else "")
            line(console, f"{_INDENT}{'':<{width}}  {numbers}")
        else:
            line(console, f"{place:>3}  {name:<{width}}  {numbers}", "green" if row["rank"] == 1 else "")
        _wrapped(console, labels.sentence(plain(row["reason"])))
        if memory is not None:
            _wrapped(console, f"Training: {way_within(row['params_b'], row['family'] or '', memory)}.")
    if one.n_within > len(one.rows):
        line(console, f"{_INDENT}({one.n_within - len(one.rows)} more within the limit)", "dim")
    for name, reason in one.abstained:
        _wrapped(console, labels.sentence(f"No recommendation for {plain(name)}: {plain(reason)}"))
    if one.rows and not one.is_stored:
        limits = labels.listing([*(f"{limit:g}" for limit in one.stored_limits), "none"])
        _wrapped(console, NO_CHANCE.format(limits=limits))


def _wrapped(console: Console, text: str) -> None:
    for part in textwrap.wrap(
        text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    ):
        line(console, part, "dim")


def billions(text: str) -> float:
    """A size as people write it: 8, 8B or 360M."""
    return _quantity(text, {"": 1, "b": 1, "m": 1 / 1000}, "a size in billions of parameters, such as 8, 8B or 360M")


def gibibytes(text: str) -> float:
    """Memory as people write it: 24, 24GB or 24GiB."""
    return _quantity(text, {"": 1, "g": 1, "gb": 1, "gib": 1}, "memory in GiB, such as 24")


def _quantity(text: str, units: Mapping[str, float], wanted: str) -> float:
    number = text.strip().rstrip("BGIMbgim")
    unit = text.strip()[len(number) :].lower()
    try:
        return float(number) * units[unit]
    except (ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"{plain(text)!r} is not {wanted}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status, 1 with a message where there is no answer."""
    parser = argparse.ArgumentParser(prog="python -m warehouse.cli.recommend", description=__doc__)
    parser.add_argument(
        "--max-params", type=billions, help=f"largest size, in billions of parameters, {SIZE_RULE} (default: any)"
    )
    parser.add_argument(
        "--memory", type=gibibytes, help="memory of the device to train on, in GiB, by an estimate (default: any)"
    )
    parser.add_argument("--objective", help="regression or bradley_terry (default: both)")
    parser.add_argument("--policy", help="policy that the reward model is to teach: its policy_id in the study file")
    parser.add_argument(
        "--use", help=f"what it is for, with a policy: {labels.listing(list(labels.USES))} (default: each)"
    )
    parser.add_argument("--study", help="study (default: all)")
    parser.add_argument("--top", type=int, default=5, help="how many models to list (default 5)")
    options = parser.parse_args(arguments)
    try:
        with read(Home.from_environment().current) as connection:
            console = Console(highlight=False)
            asked = {name: getattr(options, name) for name in ("max_params", "objective")} | {"study_id": options.study}
            if options.policy is None and options.use is None:
                print_recommendation(connection, console, **asked, memory=options.memory, top=options.top)
            elif options.memory is not None:
                raise UserError(NO_MEMORY)
            else:
                print_for_policy(connection, console, policy=options.policy, use=options.use, **asked)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

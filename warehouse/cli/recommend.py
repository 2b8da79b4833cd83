"""`python -m warehouse.cli.recommend`: the best base models under a size limit, or for a policy, from the snapshot."""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from rich.console import Console

from models_train.errors import UserError
from warehouse.cli.answer import line
from warehouse.cli.recommend_for_policy import USES, print_for_policy
from warehouse.connection import Connection, has_table, read
from warehouse.contracts.leads import is_distinguishable
from warehouse.contracts.sizes import SIZE_RULE, is_within
from warehouse.paths import Home
from warehouse.reports import labels, queries
from warehouse.training_memory import way_within, ways_to_train

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


@dataclass(frozen=True)
class Limits:
    """What a model must fit in. params_b: billions of parameters. memory_gib: of the device to train on. None: any."""

    params_b: float | None = None
    memory_gib: float | None = None

    def __str__(self) -> str:
        """` of at most 8 B parameters, trainable in 24 GiB`, or nothing."""
        size = "" if self.params_b is None else f" of at most {self.params_b:g} B parameters"
        if self.memory_gib is None:
            return size
        return f"{size}{',' if size else ''} trainable in {self.memory_gib:g} GiB"

    def hold(self, row: Mapping[str, Any]) -> bool:
        """True where a model fits. row: with model_id, params_b and family."""
        name, params_b = row["model_id"], row["params_b"]
        if self.params_b is not None and not is_within(name, params_b, self.params_b):
            return False
        return self.memory_gib is None or way_within(params_b, row["family"] or "", self.memory_gib) is not None


@dataclass(frozen=True)
class Recommendation:
    """The answer for one study and objective.

    rows: best first, as dictionaries with rank, model_id, params_b, basis, expected_score, interval_low,
    interval_high, gain_points_over_default, probability_best, reason, and is_level: not distinguishable from the
    first. n_within: how many models were ranked.
    abstained: (model, reason). is_stored: the limit is one that probabilities are stored for.
    """

    objective: str
    rows: tuple[dict[str, Any], ...]
    n_within: int
    abstained: tuple[tuple[str, str], ...]
    is_stored: bool
    stored_limits: tuple[float, ...]


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
    for name, number, unit, example in (
        ("MAX_PARAMS", max_params, "billions of parameters", 8),
        ("MEMORY", memory, "GiB of device memory", 24),
    ):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise UserError(f"{name} is {number:g}: give a positive number of {unit}, for example {example}")
    limits = Limits(max_params, memory)
    if top < 1:
        raise UserError(f"{top} models were asked for: ask for at least one")
    answers = []
    for study in _studies(connection, study_id):
        models = queries.base_models(connection, study["study_id"])
        answers.append((study, with_size(queries.recommendations(connection, study["study_id"]), models), models))
    wanted = _objectives([frame for _, frame, _ in answers], objective)
    shown: list[tuple[dict[str, Any], list[Recommendation]]] = []
    for study, frame, models in answers:
        found = [recommendation(frame.filter(objective=name), models, limits, top) for name in wanted]
        shown.append((study, [one for one in found if one.rows or one.abstained]))
    if not any(one.rows for _, found in shown for one in found):
        raise UserError(_nothing([frame for _, frame, _ in answers], wanted, limits))
    limit = "" if max_params is None else f"of at most {max_params:g} billion parameters "
    limit += "" if memory is None else f"trainable in {memory:g} GiB "
    bases = {study["study_id"]: queries.score_basis(connection, study["study_id"]) for study, _ in shown}
    for study, found in shown:
        line(console)
        line(console, f"Which base model {limit}should I train my reward model on?", "bold")
        line(console, _plain(study["title"]) + (" (synthetic data)" if study["synthetic"] else ""), "dim")
        if not any(one.rows for one in found):
            line(console, "  No recommendation: the study has no ranked model within the limit.")
        for one in found:
            _print(console, one, memory)
        weak = queries.near_chance_defaults(connection, study["study_id"]).filter(pl.col("objective").is_in(wanted))
        if weak.height:
            line(console)
            _wrapped(console, _plain(labels.near_chance_defaults(weak.to_dicts(), bases[study["study_id"]])))
    line(console)
    noise = [row for study, _ in shown for row in queries.run_noise(connection, study["study_id"]).to_dicts()]
    texts = dict.fromkeys(f"{basis.text}, in percent ({basis.by_chance})" for basis in bases.values())
    reading = HOW_TO_READ.format(
        basis="; or ".join(texts), noise=labels.run_noise([row for row in noise if row["objective"] in wanted])
    )
    for text in textwrap.wrap(reading + ("" if memory is None else f" {MEMORY_RULE}"), WIDTH):
        line(console, text, "dim")


def recommendation(frame: pl.DataFrame, models: pl.DataFrame, within: Limits, top: int) -> Recommendation:
    """The best `top` models of one study and objective within the limits.

    frame: rows of `with_size` of one objective; models: of queries.base_models. For a stored size limit alone
    its rows are taken as they are. For any other, the rows without limit are filtered and ranked again, with
    new reasons and without a probability, which would be that of another set of models.
    """
    max_params = within.params_b
    objective = str(frame["objective"][0]) if frame.height else ""
    limits = tuple(sorted({float(limit) for limit in frame["size_limit_b"].drop_nulls()}))
    stored = within.memory_gib is None and (max_params is None or max_params in limits)
    limit = pl.lit(max_params if stored else None, pl.Float64)
    mine = frame.filter(pl.col("size_limit_b").eq_missing(limit))
    if not stored:
        fitting = [within.hold(row) for row in mine.iter_rows(named=True)]
        mine = mine.filter(pl.Series("fitting", fitting, pl.Boolean))
    ranked = mine.filter(pl.col("rank").is_not_null() & pl.col("expected_score").is_not_null()).sort("rank", "model_id")
    rows = ranked.to_dicts()
    rows = [row | {"is_level": is_level(row, rows[0])} for row in rows]
    if not stored:
        defaults = {row["size_group"]: row["model_id"] for row in models.filter("is_default").iter_rows(named=True)}
        groups = dict(models.select("model_id", "size_group").iter_rows())
        for rank, row in enumerate(rows, start=1):
            default = defaults.get(groups.get(row["model_id"]))
            row |= {"rank": rank, "probability_best": None}
            row["reason"] = _reason(row, rows, within, default)
    left = mine.filter(pl.col("rank").is_null()).sort("model_id")
    return Recommendation(
        objective=objective,
        rows=tuple(rows[:top]),
        n_within=len(rows),
        abstained=tuple(left.select("model_id", "reason").unique(maintain_order=True).iter_rows()),
        is_stored=stored,
        stored_limits=limits,
    )


def is_level(row: Mapping[str, Any], first: Mapping[str, Any]) -> bool:
    """Whether a ranked model is not distinguishable from the first; the first itself is not."""
    ends, best = ((one["interval_low"], one["interval_high"]) for one in (row, first))
    told = is_distinguishable(row["expected_score"], ends, first["expected_score"], best)
    return not told and row["model_id"] != first["model_id"]


def _reason(row: dict[str, Any], rows: list[dict[str, Any]], within: Limits, default: str | None) -> str:
    among = f"{labels.plural(len(rows), 'model')}{within}"
    score = labels.number(row["expected_score"])
    if row["basis"] == "predicted":
        ends = labels.interval(row["interval_low"], row["interval_high"])
        text = f"No reward model was trained on it; predicted {score}{f' ({ends})' if ends else ''}"
    else:
        text = f"Measured {score}"
    if row["rank"] == 1:
        text += f", the highest of {among}"
    else:
        behind = labels.number(rows[0]["expected_score"] - row["expected_score"])
        text += f", rank {row['rank']} of {among}, {behind} points behind {rows[0]['model_id']}"
        text += f", not distinguishable from {rows[0]['model_id']}" if row["is_level"] else ""
    gain = row["gain_points_over_default"]
    if row["model_id"] == default:
        text += "; it is the default of its size group"
    elif gain is not None:
        side = "above" if gain >= 0 else "below"
        text += f"; {labels.number(abs(gain))} points {side} the default {default or 'of its size group'}"
    return f"{text}."


def _studies(connection: Connection, study_id: str | None) -> list[dict[str, Any]]:
    """The studies to answer for: those with recommendations, or the one that was named."""
    if not has_table(connection, "marts", "fct_recommendations"):
        raise UserError("The published snapshot holds no recommendations yet: run `make run` first.")
    known = queries.studies(connection).to_dicts()
    names = labels.listing([_plain(str(study["study_id"])) for study in known])
    if study_id is not None:
        known = [study for study in known if study["study_id"] == study_id]
        if not known:
            raise UserError(f"There is no study {_plain(study_id)!r}; the snapshot holds: {names or 'none'}.")
    found = [study for study in known if queries.recommendations(connection, study["study_id"]).height]
    if not found:
        which = f"study {_plain(study_id)}" if study_id else "any study of the snapshot"
        raise UserError(
            f"There are no recommendations for {which}: it has no results to rank. Run `make run` after adding some."
        )
    return found


def _objectives(frames: list[pl.DataFrame], objective: str | None) -> list[str]:
    known = list(dict.fromkeys(str(name) for frame in frames for name in frame["objective"]))
    if objective is None:
        return known
    wanted = objective.strip().lower().replace("-", "_").replace(" ", "_")
    for name in known:
        if name.lower() == wanted or name == objective:
            return [name]
    raise UserError(
        f"There is no objective {_plain(objective)!r}; there are: {labels.listing([_plain(name) for name in known])}."
    )


def with_size(frame: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """The recommendations with family, and params_b, infinite where it is not known: it fits under no limit."""
    columns = models.select("model_id", "params_b", "family")
    sized = frame.join(columns, on="model_id", how="left", maintain_order="left")
    return sized.with_columns(pl.col("params_b").fill_null(math.inf))


def _nothing(frames: list[pl.DataFrame], objectives: list[str], limits: Limits) -> str:
    ranked = [frame.filter(pl.col("rank").is_not_null(), pl.col("objective").is_in(objectives)) for frame in frames]
    models = pl.concat([frame.select("model_id", "params_b", "family") for frame in ranked]).filter(
        pl.col("params_b").is_finite()
    )
    if not models.height or (limits.params_b is None and limits.memory_gib is None):
        return "No model can be recommended: every candidate is an abstention, and no result is there to rank."
    smallest = models.sort("params_b", "model_id").row(0, named=True)
    name = f"the smallest one that can be recommended is {_plain(smallest['model_id'])}"
    if limits.params_b is not None and not replace(limits, memory_gib=None).hold(smallest):
        return f"No model has at most {limits.params_b:g} billion parameters: {name} with {smallest['params_b']:g}."
    least = ways_to_train(smallest["params_b"], smallest["family"] or "")[-1]
    return f"No model{limits} can be recommended: {name}, which needs about {least.device_gib:.1f} GiB."


def _print(console: Console, one: Recommendation, memory: float | None) -> None:
    line(console)
    line(console, _plain(labels.objective(one.objective)), "bold")
    names = [_plain(row["model_id"]) for row in one.rows]
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
            f"{_plain(labels.basis(row['basis']))}"
        )
        if len(name) > width:
            # Names are copied from the terminal, so a long one is not cut but takes a line.
            line(console, f"{place:>3}  {name}", "green" if row["rank"] == 1 else "")
            line(console, f"{_INDENT}{'':<{width}}  {numbers}")
        else:
            line(console, f"{place:>3}  {name:<{width}}  {numbers}", "green" if row["rank"] == 1 else "")
        _wrapped(console, labels.sentence(_plain(row["reason"])))
        if memory is not None:
            _wrapped(console, f"Training: {way_within(row['params_b'], row['family'] or '', memory)}.")
    if one.n_within > len(one.rows):
        line(console, f"{_INDENT}({one.n_within - len(one.rows)} more within the limit)", "dim")
    for name, reason in one.abstained:
        _wrapped(console, labels.sentence(f"No recommendation for {_plain(name)}: {_plain(reason)}"))
    if one.rows and not one.is_stored:
        limits = labels.listing([*(f"{limit:g}" for limit in one.stored_limits), "none"])
        _wrapped(console, NO_CHANCE.format(limits=limits))


def _wrapped(console: Console, text: str) -> None:
    for part in textwrap.wrap(
        text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    ):
        line(console, part, "dim")


def _plain(text: str) -> str:
    """Text without escape sequences and line breaks, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(text))


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
        raise argparse.ArgumentTypeError(f"{_plain(text)!r} is not {wanted}") from None


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
    parser.add_argument("--use", help=f"what it is for, with a policy: {labels.listing(list(USES))} (default: each)")
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
                raise UserError("MEMORY is for a recommendation without a policy: leave out POLICY and USE, or MEMORY.")
            else:
                print_for_policy(connection, console, policy=options.policy, use=options.use, **asked)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

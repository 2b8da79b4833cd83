"""`make recommend POLICY=... USE=...`: the base model of a reward model for a policy, with the evidence."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence
from typing import Any

import polars as pl
from rich.console import Console

from models_train.errors import UserError
from warehouse.cli.answer import line
from warehouse.connection import Connection, has_table
from warehouse.reports import labels, queries

WIDTH = 96
MART = "fct_teacher_recommendations"
USES = {"rl": "Reinforcement learning", "best_of_n": "Best of n", "filter_data": "Filtering of data"}
"""Uses of a reward model with a policy, as they are headed."""
HOW_TO_READ = (
    "Gains are in standard deviations of the gold reward over the policy's responses; accuracy is the share of pairs "
    "of its responses that are ordered as the gold reward orders them. Intervals are 95 %. Base models that cannot be "
    "told apart are not ranked. Evidence is taken in this order: measured on the policy, on policies of its family, "
    "RewardBench, benchmarks of base models."
)


def print_for_policy(
    connection: Connection,
    console: Console,
    *,
    policy: str | None,
    use: str | None,
    max_params: float | None,
    objective: str | None,
    study_id: str | None,
) -> None:
    """Print the recommendation for a policy (None: every policy) and a use (None: every use), with its evidence.

    Raises UserError for a policy, use, objective, study or size limit that is not there, naming what is near or there.
    """
    wanted_use = None if use is None else _known(use, USES, "use", folded=True)
    if not has_table(connection, "marts", MART):
        raise UserError("The published snapshot holds no recommendations for policies yet: run `make run` first.")
    studies = queries.studies(connection).to_dicts()
    if study_id is not None:
        studies = [study for study in studies if study["study_id"] == study_id]
        if not studies:
            raise UserError(f"There is no study {_plain(study_id)!r}.")
    frames = [queries.teacher_recommendations(connection, study["study_id"]) for study in studies]
    found = [frame for frame in frames if frame.height]
    if not found:
        which = "the study has" if study_id else "no study has"
        raise UserError(
            f"There is no recommendation for a policy: {which} policies with responses and a gold reward. Add "
            "`teachers` to a study file and run `make run`."
        )
    every = pl.concat(found)
    conditions = {
        "policy_id": None if policy is None else _known(policy, every["policy_id"], "policy"),
        "use": wanted_use,
        "objective": None if objective is None else _known(objective, every["objective"], "objective", folded=True),
    }
    limit = _limit(every, max_params)
    shown = 0
    for study, frame in zip(studies, frames, strict=True):
        for column, value in conditions.items():
            frame = frame if value is None or frame.is_empty() else frame.filter(pl.col(column) == value)
        if frame.height:
            frame = frame.filter(pl.col("size_limit_b").eq_missing(pl.lit(limit, pl.Float64)))
        if frame.height:
            _print_study(console, study, frame)
            shown += frame.height
    if not shown:
        asked = [f"{name.removesuffix('_id')} {_plain(value)}" for name, value in conditions.items() if value]
        asked += [] if limit is None else [f"at most {limit:g} billion parameters"]
        which = labels.listing(asked)
        raise UserError(f"There is no recommendation for {which}: no base model is a candidate there.")
    line(console)
    for text in textwrap.wrap(HOW_TO_READ, WIDTH):
        line(console, text, "dim")


def _known(asked: str, known: Sequence[str] | pl.Series | dict[str, str], what: str, *, folded: bool = False) -> str:
    """The value that is meant. Raises UserError with near ones, else with those that there are."""
    names = list(dict.fromkeys(str(name) for name in known))
    text = asked.strip()
    text = text.lower().replace("-", "_").replace(" ", "_") if folded else text
    if text in names:
        return text
    by_case = {name.casefold(): name for name in names}
    near = [_plain(by_case[name]) for name in difflib.get_close_matches(text.casefold(), by_case, n=3, cutoff=0.5)]
    if near:
        raise UserError(f"There is no {what} {_plain(asked)!r}; did you mean {_or(near)}?")
    raise UserError(
        f"There is no {what} {_plain(asked)!r}; there are: {labels.listing([_plain(name) for name in names])}."
    )


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _limit(frame: pl.DataFrame, max_params: float | None) -> float | None:
    """The stored size limit that is meant: chances of being best are those of all base models within a limit."""
    stored = sorted(frame["size_limit_b"].drop_nulls().unique().to_list())
    if max_params is None or max_params in stored:
        return max_params
    names = labels.listing([f"{limit:g}" for limit in stored])
    raise UserError(
        f"MAX_PARAMS is {max_params:g}: for a policy give one of {names}, or leave it out for any size."
        if stored
        else f"MAX_PARAMS is {max_params:g}: no base model of known size is a candidate; leave it out."
    )


def _print_study(console: Console, study: dict[str, Any], frame: pl.DataFrame) -> None:
    several_golds = frame["gold_id"].n_unique() > 1
    for (policy,), mine in frame.group_by("policy_id", maintain_order=True):
        line(console)
        line(console, f"Which base model should the reward model for {_plain(str(policy))} be trained on?", "bold")
        line(console, _plain(study["title"]) + (" (synthetic data)" if study["synthetic"] else ""), "dim")
        for row in mine.iter_rows(named=True):
            line(console)
            use, limit = USES.get(row["use"], row["use"]), labels.size_limit(row["size_limit_b"])
            heading = f"{use}, {labels.objective(row['objective'])}, {limit}"
            heading += f", gold reward {_plain(row['gold_id'])}" if several_golds else ""
            line(console, heading, "bold")
            for text in answer_lines(row):
                for part in textwrap.wrap(
                    text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
                ):
                    line(console, part)


def answer_lines(row: dict[str, Any]) -> list[str]:
    """Sentences of one recommendation, a row of the mart: what to take, how sure that is, at which cost."""
    if row["base_model"] is None:
        return [_plain(row["reason"])]
    digits = 2
    expected = labels.number(row["expected"], digits)
    interval = labels.interval(row["low"], row["high"], digits)
    text = f"{_plain(row['base_model'])}: {labels.MEASURES.get(row['measure'], row['measure'])} {expected}"
    text += f" ({interval})" if interval else " (no interval)"
    if row["probability_best"] is not None and row["n_compared"] > 1:
        text += f", the best in {labels.percent(row['probability_best'])} of draws"
    sentences = [f"{text}.", _plain(row["reason"])]
    if row["level_with"] is not None:
        sentences.append(f"Not distinguishable from it: {_plain(row['level_with'])}.")
    elif row["runner_up"] is not None:
        sentences.append(f"Runner-up: {_plain(row['runner_up'])}, {labels.number(row['runner_up_expected'], digits)}.")
    if row["n_without"]:
        sentences.append(f"Without this evidence: {labels.plural(row['n_without'], 'base model')}.")
    costs = [
        f"{hours:.2g} device hours {what}"
        for hours, what in (
            (row["training_hours"], "to train the reward model"),
            (row["teaching_hours"], "for a run of reinforcement learning"),
        )
        if hours is not None
    ]
    return [*sentences, *([f"Cost: {labels.listing(costs)}."] if costs else [])]


def _plain(text: str) -> str:
    """Text without escape sequences and line breaks, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))

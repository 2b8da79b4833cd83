"""`make recommend POLICY=... USE=...`: the base model of a reward model for a policy, with the evidence."""

from __future__ import annotations

import textwrap
from typing import Any

import polars as pl
from rich.console import Console

from warehouse.cli.answer import line
from warehouse.connection import Connection
from warehouse.reports import labels
from warehouse.reports.recommended import plain, recommendations_for_policy

WIDTH = 96
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
    for study, frame in recommendations_for_policy(connection, policy, use, max_params, objective, study_id):
        _print_study(console, study, frame)
    line(console)
    for text in textwrap.wrap(HOW_TO_READ, WIDTH):
        line(console, text, "dim")


def _print_study(console: Console, study: dict[str, Any], frame: pl.DataFrame) -> None:
    several_golds = frame["gold_id"].n_unique() > 1
    for (policy,), mine in frame.group_by("policy_id", maintain_order=True):
        line(console)
        line(console, f"Which base model should the reward model for {plain(str(policy))} be trained on?", "bold")
        line(console, plain(study["title"]) + (" (synthetic data)" if study["synthetic"] else ""), "dim")
        for row in mine.iter_rows(named=True):
            line(console)
            use, limit = labels.capital(labels.USES.get(row["use"], row["use"])), labels.size_limit(row["size_limit_b"])
            heading = f"{use}, {labels.objective(row['objective'])}, {limit}"
            heading += f", gold reward {plain(row['gold_id'])}" if several_golds else ""
            line(console, heading, "bold")
            for text in answer_lines(row):
                for part in textwrap.wrap(
                    text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
                ):
                    line(console, part)


def answer_lines(row: dict[str, Any]) -> list[str]:
    """Sentences of one recommendation, a row of the mart: what to take, how sure that is, at which cost."""
    if row["base_model"] is None:
        return [plain(row["reason"])]
    digits = 2
    expected = labels.number(row["expected"], digits)
    interval = labels.interval(row["low"], row["high"], digits)
    text = f"{plain(row['base_model'])}: {labels.MEASURES.get(row['measure'], row['measure'])} {expected}"
    text += f" ({interval})" if interval else " (no interval)"
    if row["probability_best"] is not None and row["n_compared"] > 1:
        text += f", the best in {labels.percent(row['probability_best'])} of draws"
    sentences = [f"{text}.", plain(row["reason"])]
    if row["level_with"] is not None:
        sentences.append(f"Not distinguishable from it: {plain(row['level_with'])}.")
    elif row["runner_up"] is not None:
        sentences.append(f"Runner-up: {plain(row['runner_up'])}, {labels.number(row['runner_up_expected'], digits)}.")
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

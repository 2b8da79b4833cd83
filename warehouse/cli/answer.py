"""The answer in the terminal: the best base model of each size group, from the published snapshot."""

from __future__ import annotations

import textwrap
from typing import Any

import polars as pl
from rich.console import Console

from warehouse.connection import Connection
from warehouse.reports import labels, queries
from warehouse.reports.topics import race

WIDTH = 110
LEADS = {"clear": "a clear lead", "likely": "a likely lead, within noise", "open": "not distinguishable"}
HOW_TO_READ = (
    "Score: {basis}, in percent; {chance}. Gains are percentage points over the "
    "default base model of the size group (billions of parameters), with their 95 % interval over test questions and "
    "training runs. Two trainings of one base are taken to differ by a standard deviation of {noise}."
)
NO_ITEMS = " Intervals are approximate: published tables have no item-level results, and each model was trained once."
HOW_TO_READ_REWARDS = (
    "Percent, with the 95 % interval over items. Two reward models are told apart by paired tests on the items that "
    "both have, with Holm's correction over all pairs of reward models of the benchmark."
)
NO_CENSUS = "No reward model was trained to the end: a race takes the place of that."
NO_ANSWER = "No reward model can be compared with the default of its size group yet."


def print_answer(connection: Connection, console: Console) -> None:
    """Print, per study, the best base model of each size group and objective, its gain and how sure that is."""
    for study in queries.studies(connection).iter_rows(named=True):
        rewards = queries.reward_scores(connection, study["study_id"])
        if queries.has_other_scores(connection, study["study_id"]):
            if rewards.height:
                _print_rewards(rewards, study, console)
            continue  # no default to gain over; the report has its section
        best = queries.size_group_winners(connection, study["study_id"])
        races = queries.race_answers(connection, study["study_id"])
        line(console)
        line(console, "Which base model should I train my reward model on?", "bold")
        line(console, study["title"] + (" (synthetic data)" if study["synthetic"] else ""), "dim")
        for objective in best["objective"].unique(maintain_order=True):
            line(console)
            line(console, labels.objective(objective), "bold")
            for row in best.filter(objective=objective).iter_rows(named=True):
                for text, style in answer_lines(row):
                    line(console, text, style)
        for found in races.filter(method="race").iter_rows(named=True) if races.height else ():
            line(console)
            for text in textwrap.wrap(f"Race. {race.answer_text(found)} {race.cost_text(found)}", WIDTH):
                line(console, text)
        line(console)
        if best.is_empty():
            line(console, NO_ANSWER if races.is_empty() else NO_CENSUS)
        else:
            noise = queries.run_noise(connection, study["study_id"]).to_dicts()
            basis = queries.score_basis(connection, study["study_id"])
            reading = HOW_TO_READ.format(basis=basis.text, chance=basis.by_chance, noise=labels.run_noise(noise))
            reading += "" if best["is_paired"].any() or best["is_gap_paired"].any() else NO_ITEMS
            for text in textwrap.wrap(reading, WIDTH):
                line(console, text, "dim")
        if rewards.height and rewards.filter(pl.col("kind") != "trained").height:
            _print_rewards(rewards, study, console)


def _print_rewards(rewards: pl.DataFrame, study: dict[str, Any], console: Console) -> None:
    """The best reward models of each benchmark, whatever their base; rewards: of queries.reward_scores."""
    line(console)
    line(console, "Which reward model is best?", "bold")
    line(console, study["title"] + (" (synthetic data)" if study["synthetic"] else ""), "dim")
    for benchmark, part in queries.parts(rewards, "benchmark"):
        line(console)
        line(console, labels.reward_benchmark(benchmark), "bold")
        for text, style in reward_lines(part):
            line(console, text, style)
    line(console)
    for text in textwrap.wrap(HOW_TO_READ_REWARDS, WIDTH):
        line(console, text, "dim")


def reward_lines(rewards: pl.DataFrame) -> list[tuple[str, str]]:
    """Lines of text with their styles: the best reward model of a benchmark, and what can be told from it.

    rewards: rows of queries.reward_scores of one benchmark, best first.
    """
    best, figure, remarks = labels.best_reward(rewards.to_dicts())
    if not figure:
        return [(f"  {remark}", "") for remark in remarks]
    return [(f"  {best}  {figure}", "green"), *((f"    {remark}", "") for remark in remarks)]


def answer_lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Three lines of text with their styles for one row of fct_size_group_winners; a fourth on chance."""
    indent = " " * 14
    gain = f"+{row['gain_points']:.1f} points ({row['gain_percent']:+.1f} %) over {row['default_model_id']}"
    if row["is_default"]:
        gain = "is the default itself"
    elif row["gain_low_with_runs"] is not None:
        gain += f"  [{row['gain_low_with_runs']:+.1f}, {row['gain_high_with_runs']:+.1f}]"
    rival = "the only model of its group"
    if row["runner_up"] is not None:
        error = f" ± {row['gap_error_with_runs']:.1f}" if row["gap_error_with_runs"] else ""
        rival = f"{row['gap_points']:.1f}{error} ahead of {row['runner_up']}: {LEADS[labels.confidence(row)[0]]}"
        if row["n_close"] > 1:
            rival += f" ({row['n_close']} models are within noise of it)"
    chance = []
    if row["is_default_near_chance"] and not row["is_default"]:
        median = f"{row['gain_over_median_points']:+.1f} over the median of the group"
        chance = [(f"{indent}the default is near chance ({row['default_score']:.1f}); {median}", "")]
    return [
        (f"  {row['size_group']:<12}{row['model_id']}  {row['score']:.1f}", "green"),
        (indent + gain, ""),
        *chance,
        (indent + rival, ""),
    ]


def line(console: Console, text: str = "", style: str = "") -> None:
    """Print one line as it is: brackets are no markup, and nothing is highlighted or broken."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

"""The answer at a glance: the best base model per size group and objective, and how certain that is."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels, queries
from warehouse.reports.elements import AnswerCard, Figure, Panel, Section, Study
from warehouse.reports.labels import ScoreBasis
from warehouse.reports.queries import parts
from warehouse.reports.topics import gains, race

TITLE = "The answer at a glance"


def section(study: Study) -> Section:
    """Headlines, cards and figure of the winners; where nothing can be compared, the reason."""
    best = queries.size_group_winners(study.connection, study.study_id)
    races = queries.race_answers(study.connection, study.study_id) if not best.height else best
    if not best.height and races.height:
        return _of_races(races.filter(method="race"))
    if not best.height:
        has_results = study.read("fct_reward_model_results", "model_id", "model_id").height > 0
        text = "The study holds no results yet, so there is no answer to give."
        if has_results:
            text = (
                "No reward model can be compared with its size group's default yet, so there is no answer to give; "
                "the results so far are under “All results”."
            )
        return Section("answer", TITLE, (text,))
    rows, noise = best.to_dicts(), queries.run_noise(study.connection, study.study_id).to_dicts()
    basis = study.basis
    return Section(
        key="answer",
        title=TITLE,
        paragraphs=(certainty(rows, noise, basis), *_other_basis(basis, noise)),
        answers=tuple(
            (objective, tuple(_card(row, basis) for row in part.to_dicts()))
            for objective, part in parts(best, "objective")
        ),
        items=(_figure(best, study),),
        headlines=headlines(rows),
    )


def _of_races(races: pl.DataFrame) -> Section:
    """The answers of races, where no reward model was trained to the end."""
    rows = races.to_dicts()
    return Section(
        "answer",
        TITLE,
        tuple(text for row in rows for text in (race.answer_text(row), race.cost_text(row))),
        headlines=tuple(
            (
                f"race, {labels.objective(row['objective'])}",
                row["winner"],
                f"best with probability {labels.percent(row['probability_best'])}",
            )
            for row in rows
            if row["winner"] is not None
        ),
    )


def _other_basis(basis: ScoreBasis, noise: list[dict[str, Any]]) -> tuple[str, ...]:
    """Sentences where the score is not RewardBench's mean of four categories."""
    if basis.benchmark == "rewardbench" and basis.is_whole:
        return ()
    what = "a score of all parts" if basis.benchmark == "rewardbench" else "scores on RewardBench"
    text = f"The score is the {basis.text}; it does not compare with {what}."
    if any(row["run_noise_basis"] == "twins" for row in noise):
        text += " The stated run-to-run noise is that of RewardBench's score: state your own under run_noise."
    return (text,)


def headlines(rows: list[dict[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    """Per size group (its name, model, gain as text): the best over all objectives, smallest group first."""
    groups: dict[int, dict[str, Any]] = {}
    for row in rows:
        held = groups.get(row["size_group_position"])
        if held is None or row["score"] > held["score"]:
            groups[row["size_group_position"]] = row
    return tuple(
        (labels.size_group(row["size_group"]), row["model_id"], _headline(row)) for _, row in sorted(groups.items())
    )


def gain(row: dict[str, Any], basis: ScoreBasis) -> str:
    """The gain over the default in both units with its intervals and over the median; notes on chance."""
    median = f"{labels.number(row['gain_over_median_points'], signed=True)} points against the median of the size group"
    if row["is_default"]:
        return (
            f"This is the default itself: nothing in its size group scored higher. {median}.{near_chance(row, basis)}"
        )
    text = f"{labels.change(row['gain_points'], row['gain_percent'])} over {row['default_model_id']}"
    if row["gain_low"] is None:
        return f"{text}; no interval is known. {median}.{near_chance(row, basis)}"
    about = "" if row["is_paired"] else "about "
    questions = labels.interval(row["gain_low"], row["gain_high"], signed=True)
    runs = labels.interval(row["gain_low_with_runs"], row["gain_high_with_runs"], signed=True)
    return (
        f"{text}; 95 % interval {about}{questions} points over test questions, {runs} with training runs. "
        f"{median}.{near_chance(row, basis)}"
    )


def near_chance(row: dict[str, Any], basis: ScoreBasis) -> str:
    """A sentence where the best or the default stands near chance, which for pairs is the 50 of a coin."""
    if row["is_near_chance"]:
        return f" Its score is near chance ({labels.number(row['score'])}; {basis.by_chance})."
    if row["is_default_near_chance"] and basis.chance is not None:
        default, best = (row[name] - basis.chance for name in ("default_score", "score"))
        return (
            f" The default is near chance: it scores {labels.number(row['default_score'])}, and {basis.by_chance}, so "
            f"its lead over chance is {labels.number(default)} points and the best model's {labels.number(best)}."
        )
    return ""


def certainty(best: list[dict[str, Any]], noise: list[dict[str, Any]], basis: ScoreBasis) -> str:
    """One paragraph on how certain the whole answer is: rows of fct_size_group_winners, and of queries.run_noise."""
    rows = [row for row in best if row["runner_up"] is not None]
    clear = sum(labels.confidence(row)[0] == "clear" for row in rows)
    above = sum(row["gain_low_with_runs"] is not None and row["gain_low_with_runs"] > 0 for row in best)
    sentences = [
        f"In {above} of {len(best)} cases the 95 % interval of the gain over the default, test questions and training "
        "runs together, lies above zero."
    ]
    if rows:
        sentences += [f"In {clear} of {len(rows)} cases the best model also has a clear lead over its runner-up."]
    if noise:
        sentences += [
            f"Two trainings of one base model are taken to differ by a standard deviation of {labels.run_noise(noise)}."
        ]
    # Of the default itself there is no gain to have a basis, and of a model alone in its group no lead.
    paired = {row[name] for row in best for name in ("is_paired", "is_gap_paired")} - {None}
    if True in paired:
        sentences += ["Models are compared pair by pair, on the same test questions."]
    elif paired:
        sentences += [
            "These results come without item-level data and with one training run each: errors are a binomial "
            "approximation from the number of test pairs per category, and those of two models are taken as "
            "independent although both met the same questions, which is rather too wide."
        ]
    sentences += ["The best of several models is a little flattered by its selection."]
    if basis.chance is not None:
        sentences += [f"Chance is {labels.number(basis.chance, 0)}{' in every category' * (len(basis.parts) > 1)}."]
    if any(row["is_default_near_chance"] and not row["is_default"] for row in best):
        sentences += ["Some defaults are near it, so that gains over them say little about the best model."]
    return " ".join(sentences)


def best_gains(frame: pl.DataFrame, domain: charts.Range) -> alt.LayerChart:
    """Gain of the best base model of each size group with its interval; frame: winners of one objective."""
    frame = frame.with_columns(
        charts.named("size_group", labels.short_size_group, "group_text"),
        charts.named("objective", labels.objective, "objective_text"),
    ).with_columns((pl.col("group_text") + pl.lit(" · ") + pl.col("model_id")).alias("label"))
    frame = charts.ranked(frame, "label")
    tips = (
        ("objective_text:N", "Objective"),
        ("size_group:N", "Size group (billion parameters)"),
        *gains.TOOLTIP,
        ("runner_up:N", "Runner-up"),
        ("gap_points:Q", "Lead over the runner-up (points)", ".1f"),
    )
    base = charts.row_chart(frame, "label", tips)
    x = charts.across("gain_points", "Gain over the default (points)", domain, tickCount=8)
    layers = [
        charts.zero(frame),
        charts.whisker(base, "gain_low_with_runs", "gain_high_with_runs"),
        charts.whisker(base, "gain_low", "gain_high", "gain-line"),
        charts.dots(base, x, "best", 110),
        charts.value_at_right(base, "gain_points:Q", "+.1f", "value-strong"),
    ]
    return charts.layered(layers, 30 * frame.height)


def _headline(row: dict[str, Any]) -> str:
    text = f"{labels.objective(row['objective'])}, score {labels.number(row['score'])}"
    if row["is_default"]:
        return f"{text}: the default itself"
    text += f": {labels.change(row['gain_points'], row['gain_percent'])} over {row['default_model_id']}"
    if row["gain_low_with_runs"] is None:
        return text
    return (
        f"{text}, 95 % interval {labels.interval(row['gain_low_with_runs'], row['gain_high_with_runs'], signed=True)}"
    )


def _card(row: dict[str, Any], basis: ScoreBasis) -> AnswerCard:
    level, verdict = labels.confidence(row)
    return AnswerCard(
        size_group=labels.size_group(row["size_group"]),
        model_id=row["model_id"],
        score=labels.number(row["score"]),
        gain=gain(row, basis),
        level=level,
        verdict=verdict,
    )


def _figure(best: pl.DataFrame, study: Study) -> Figure:
    panels, (low, high) = [], gains.gain_range(best)
    domain = (low, high + 0.15 * (high - low))  # narrow panels: more room for the number at the right
    for objective, part in parts(best, "objective"):
        winners = [
            f"{row['size_group']} {row['model_id']} {labels.number(row['gain_points'], signed=True)}"
            for row in part.to_dicts()
        ]
        panels.append(
            Panel(
                title=labels.objective(objective),
                label=f"Best base model per size group, gain in points, {objective}: {'; '.join(winners)}.",
                chart=best_gains(part, domain),
            )
        )
    gained = best["gain_points"].to_list()
    return Figure(
        name=study.name("answer"),
        title="How much the best base model gains over the default",
        caption=(
            "Points are the best model's gain in score over its size group's default, in percentage points; "
            "thick lines are 95 % intervals over test questions, thin ones over training runs, too. "
            f"Gains run from {labels.number(min(gained))} to "
            f"{labels.number(max(gained))} points. n = {labels.plural(best.height, 'pair')} of size group and "
            "objective."
        ),
        panels=tuple(panels),
        key="Best base model of each size group; thick: 95 % interval over test questions; thin: training runs, too.",
        columns=2,
        panel_width=440,
    )

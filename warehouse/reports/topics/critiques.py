"""Critique reward models beside Bradley-Terry, a placebo and true critiques, with their cost; and some of the words."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import parts
from warehouse.reports.tables import COUNT, MODEL, POINTS, PROSE, SHARE, SIGNED, TEXT, Col, Row, Table, decimals

KINDS = {
    "none": "Bradley-Terry, no critique",
    "others": "others' critiques (placebo)",
    "own": "own critiques",
    "true": "true critiques (upper bound)",
}
ROW_HEIGHT = 26


def section(study: Study) -> Section | None:
    """Sentences, the four kinds as one chart with their cost, tables; None without critique reward models."""
    gains = critique_gains(study)
    if not gains.height:
        return None
    sentences = [_sentence(part) for _, part in parts(gains.filter(pl.col("critiques") != "none"), "panel")]
    items = (_figure(gains, study), _table(gains, study), _examples(study), _trainings(study))
    return Section("critiques", "Critiques before the reward", (SUMMARY, *sentences), items=items)


SUMMARY = (
    "A critique reward model writes a critique of an answer and reads the reward after it. It is worth its tokens "
    "where it beats Bradley-Terry on the same pairs, and beats itself with critiques of other answers: else the longer "
    "training helps, and not what the critiques say. All four are trained from one base model on the same preferences; "
    "the critiques also bring what their own data know. Intervals are paired over items; the chance of the training "
    "itself (one training each) is not in them."
)


def critique_gains(study: Study) -> pl.DataFrame:
    """One row per base model, benchmark, kind and number of critiques, with its names for reading."""
    frame = study.read(
        "fct_critique_gains",
        "model_id, benchmark, critiques, n_critiques, accuracy, low, high, gain_points, gain_low, gain_high, "
        "placebo_points, placebo_low, placebo_high, tokens_per_answer, percent_without_reward, n_items, "
        "n_items_left_out",
        f"model_id, benchmark, list_position({list(KINDS)}, critiques), n_critiques",
        optional=True,
    )
    if not frame.height:
        return frame
    return frame.with_columns(
        pl.struct("model_id", "benchmark").map_elements(_panel_name, return_dtype=pl.String).alias("panel"),
        pl.struct("critiques", "n_critiques").map_elements(_row_name, return_dtype=pl.String).alias("row"),
    )


def _panel_name(row: Row) -> str:
    return f"{row['model_id']}, {labels.reward_benchmark(row['benchmark'])}"


def _row_name(row: Row) -> str:
    n = row["n_critiques"]
    return KINDS[row["critiques"]] + (f", {n} each" if row["critiques"] in ("own", "others") else "")


def _sentence(part: pl.DataFrame) -> str:
    """What the largest number of own critiques gains; part: rows of one base model and benchmark, without `none`."""
    best = part.filter(critiques="own").sort("n_critiques").row(-1, named=True)
    n = labels.plural(best["n_critiques"], "critique")
    plain = _verdict(best["gain_points"], best["gain_low"], best["gain_high"], "Bradley-Terry")
    placebo = _verdict(best["placebo_points"], best["placebo_low"], best["placebo_high"], "the placebo")
    return (
        f"{best['panel']} (n = {best['n_items']} items): with {n} per answer the accuracy is "
        f"{labels.number(best['accuracy'])} %, {plain}, and {placebo}; an answer costs "
        f"{labels.number(best['tokens_per_answer'], 0)} tokens."
    )


def _verdict(points: float | None, low: float | None, high: float | None, other: str) -> str:
    if points is None or low is None or high is None:
        return f"which cannot be compared with {other}"
    interval = f"{labels.number(points, signed=True)} points ({labels.number(low, signed=True)} to "
    interval += f"{labels.number(high, signed=True)})"
    if low > 0:
        return f"better than {other} by {interval}"
    return f"worse than {other} by {interval}" if high < 0 else f"not told apart from {other}: {interval}"


def gain_dots(frame: pl.DataFrame) -> alt.LayerChart:
    """Accuracy by kind with its interval, the tokens per answer at the right; frame: rows of one panel."""
    frame = charts.ranked(frame, "row").with_columns(
        charts.named("tokens_per_answer", lambda value: f"{value:,.0f} tokens", "tokens_text"),
        (pl.col("critiques") == "own").alias("is_own"),
    )
    tips: charts.Tooltip = (
        ("row:N", "Reward after"),
        ("accuracy:Q", "Accuracy, %", ".1f"),
        ("low:Q", "from", ".1f"),
        ("high:Q", "to", ".1f"),
        ("gain_points:Q", "Less Bradley-Terry, points", "+.1f"),
        ("placebo_points:Q", "Less the placebo, points", "+.1f"),
        ("tokens_per_answer:Q", "Tokens per answer", ",.0f"),
    )
    base = charts.row_chart(frame, "row", tips)
    domain = charts.padded([*frame["low"], *frame["high"], *frame["accuracy"]], 0.1, 1.0, right=4.0)
    ticks = list(range(10 * int(domain[0] // 10), 101, 10))
    x = charts.across("accuracy", "Items won, %", domain, values=ticks)
    layers = [
        charts.whisker(base, "low", "high"),
        charts.dots(base.transform_filter("datum.is_own"), x, "best"),
        charts.dots(base.transform_filter("!datum.is_own"), x, "estimate"),
        charts.value_at_right(base, "tokens_text:N"),
    ]
    return charts.layered(layers, ROW_HEIGHT * frame.height)


def _figure(gains: pl.DataFrame, study: Study) -> Figure:
    panels = []
    for name, part in parts(gains, "panel"):
        said = [f"{row['row']} {labels.number(row['accuracy'])} %" for row in part.to_dicts()]
        label = f"Dot chart: items won with {name}: {'; '.join(said)}."
        panels.append(Panel(title=f"{name} (n = {part['n_items'][0]})", label=label, chart=gain_dots(part)))
    return Figure(
        name=study.name("critique_gains"),
        title="What critiques add, and what they cost",
        caption=(
            "Percent of the items whose right answer has the highest reward; lines are 95 % intervals over items. "
            "Fewer critiques than were written: the mean over all subsets of so many. At the right: tokens that are "
            "read or written for the reward of an answer."
        ),
        panels=tuple(panels),
        key="Items won, in percent; lines: 95 % intervals over items; at the right: tokens per answer",
        columns=2,
        panel_width=440,
    )


def _interval(points: str, low: str, high: str) -> Col:
    titles = {"gain_points": "Less Bradley-Terry", "placebo_points": "Less placebo"}

    def note(row: Row) -> str:
        if row[low] is None:
            return ""
        return f"{labels.number(row[low], signed=True)} to {labels.number(row[high], signed=True)}"

    return Col(titles[points], points, SIGNED, "points, with the paired 95 % interval", note=note)


def _table(gains: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("critique_gains_table"),
        title="All figures",
        caption="Items with one right answer to which each of the four reward models gives rewards.",
        rows=gains.to_dicts(),
        columns=[
            Col("Reward after", "row", TEXT),
            Col("Base model", "model_id", MODEL),
            Col("Benchmark", lambda row: labels.reward_benchmark(row["benchmark"]), TEXT),
            Col("Items won", "accuracy", POINTS, "percent"),
            _interval("gain_points", "gain_low", "gain_high"),
            _interval("placebo_points", "placebo_low", "placebo_high"),
            Col("Tokens per answer", "tokens_per_answer", COUNT),
            Col("Critiques without reward", "percent_without_reward", POINTS, "percent, cut or not readable"),
            Col("Items", "n_items", COUNT),
            Col("Left out", "n_items_left_out", COUNT, "items that lack a reward"),
        ],
    )


def _examples(study: Study) -> Table:
    rows = study.read(
        "fct_critique_examples",
        "reward_id, benchmark, subset, item_id, completion, is_correct, text, reward, status",
        "reward_id, benchmark, subset, item_id, is_correct desc",
        optional=True,
    ).to_dicts()
    return Table(
        name=study.name("critique_examples"),
        title="Critiques in words",
        caption="The first critique of the right and the wrong answer of three pairs, and the reward after it.",
        rows=rows,
        columns=[
            Col("Answer", lambda row: "right" if row["is_correct"] else "wrong", TEXT),
            Col("Critique", "text", PROSE),
            Col("Reward", "reward", decimals(2), note=lambda row: "" if row["status"] == "ok" else row["status"]),
            Col("Item", lambda row: f"{row['subset']} {row['item_id']}", TEXT),
            Col("Reward model", "reward_id", TEXT),
        ],
    )


def _trainings(study: Study) -> Table:
    rows = study.read(
        "fct_critique_trainings",
        "model_id, critiques, source, n_tuned_on, tuning_loss, n_pairs, n_kept, share_kept, n_contradicting, n_tied, "
        "n_without_score, n_without_critique, learning_rate, validation_accuracy, n_validation_pairs",
        f"model_id, list_position({list(KINDS)}, critiques)",
        optional=True,
    ).to_dicts()
    return Table(
        name=study.name("critique_trainings"),
        title="How they were trained",
        caption=(
            "Pairs whose own critiques do not agree with the label are left out, where the study's filter is on; the "
            "placebo is trained on the same pairs."
        ),
        rows=rows,
        columns=[
            Col("Critiques", lambda row: KINDS[row["critiques"]], TEXT),
            Col("Base model", "model_id", MODEL),
            Col("Tuned on", "n_tuned_on", COUNT, "critiques"),
            Col("Tuning loss", "tuning_loss", decimals(3), "nats per token, validation critiques"),
            Col("Pairs", "n_pairs", COUNT),
            Col("Kept", "share_kept", SHARE),
            Col("Contradict", "n_contradicting", COUNT, "pairs whose critiques put the rejected answer first"),
            Col("Tied", "n_tied", COUNT),
            Col("No score", "n_without_score", COUNT),
            Col("No critique", "n_without_critique", COUNT, "cut, empty or missing"),
            Col("Rate", "learning_rate", TEXT),
            Col("Validation pairs won", "validation_accuracy", POINTS, "percent"),
        ],
    )

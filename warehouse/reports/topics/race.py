"""The race of the base models: who leads after how many tokens, who was dropped where and why, and what it cost."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels, queries
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_OBJECTIVE, parts
from warehouse.reports.tables import LIST, MODEL, POINTS, SHARE, TEXT, THOUSANDS, Col, Format, Row, Table, decimals

TITLE = "The race: which base model to train"
DECISIONS = {"drop": "dropped", "drop_rate": "rate dropped", "keep": "goes on", "wait": "waits", "end": "in to the end"}
METHODS = {
    "race": "the race",
    "full_census": "training all to the end",
    "successive_halving": "successive halving",
    "equal_shares": "the same share for each",
    "rectified_scaling_law": "the rectified scaling law",
    "best_public_benchmark": "the best on public benchmarks",
    "size_alone": "the largest",
}
"""Ways of choosing, as readers see them."""
_HOURS = decimals(2)


def section(study: Study) -> Section | None:
    """Per objective the answer, the curves, the candidates, and other ways to choose; None without a race."""
    answers = queries.race_answers(study.connection, study.study_id)
    if not answers.height:
        return None
    rungs = race_rungs(study)
    paragraphs: list[str] = []
    items: list[Figure | Table] = []
    for objective, part in parts(answers, "objective"):
        race, mine = part.filter(method="race").to_dicts()[0], rungs.filter(objective=objective)
        paragraphs += [answer_text(race), cost_text(race)]
        items += [_figure(mine, race, study), _candidates(mine, race, study)]
        if part.height > 1:
            items.append(_methods(part, objective, study))
    return Section("race", TITLE, tuple(paragraphs), items=tuple(items))


def race_rungs(study: Study) -> pl.DataFrame:
    """One row per objective, base model and rung of the race, by its best rate there, in order."""
    return study.read(
        "fct_race_rungs",
        "objective, model_id, learning_rate, rung, n_examples, accuracy, accuracy_low, accuracy_high, n_items, "
        "n_trained_tokens, device_hours, decision, reason, against, estimate_points, low_points, high_points, "
        "probability_best",
        f"{BY_OBJECTIVE}, model_id, rung",
        {"is_best_rate": True, "is_of_race": True},
        optional=True,
    )


def answer_text(race: Row) -> str:
    """The answer in one sentence or two, with the objective."""
    return f"{labels.objective(race['objective'])}, decided on {labels.reward_benchmark(race['benchmark'])}: " + (
        race["answer"] or "the race has no answer."
    )


def cost_text(race: Row) -> str:
    """What the race cost, and what training all candidates would have cost; the regret where that is known."""
    budget = "" if race["budget"] is None else f" of a budget of {race['budget']}"
    text = (
        f"The race took {labels.plural(race['n_looks'], 'look')} at {race['n_candidates']} base models, "
        f"{tokens(race['n_tokens'])} and {hours(race['device_hours'])}{budget}. "
    )
    text += (
        f"Training all of them to the end at every rate takes {tokens(race['n_census_tokens'])} and "
        f"{hours(race['census_device_hours'])}, so the race took {labels.percent(race['share_of_census'])} of that."
    )
    if race["is_census_known"]:
        regret = labels.number(race["regret_points"])
        text += f" They were trained here, too: {race['census_winner']} is best, {regret} points above the answer."
    return text


def tokens(n: float | None) -> str:
    """A number of tokens in thousands or millions."""
    if n is None:
        return "an unknown number of tokens"
    unit, size = next(((name, size) for name, size in _UNITS if n >= size), ("", 1.0))
    return f"{n / size:.3g}{unit} tokens"


def hours(n: float | None) -> str:
    """Device hours; of less than an hour minutes."""
    if n is None:
        return "an unknown number of device hours"
    if n >= 1:
        return f"{n:.3g} device hours"
    return f"{60 * n:.2g} device minutes" if 60 * n >= 1 else f"{3600 * n:.2g} device seconds"


_UNITS = (("\u00a0B", 1e9), ("\u00a0M", 1e6), ("\u00a0k", 1e3))


def _figure(rungs: pl.DataFrame, race: dict[str, Any], study: Study) -> Figure:
    objective = race["objective"]
    label = f"Accuracy of each base model against the tokens it was trained on. {race['answer'] or ''} " + " ".join(
        f"{row['model_id']}: {why(row)}" for row in last_rungs(rungs, race) if row["decision"] == "drop"
    )
    panels = (Panel("", label, curves(rungs, race)),) if rungs.filter(pl.col("accuracy").is_not_null()).height else ()
    return Figure(
        name=study.name("race", objective),
        title=f"The race, {labels.objective(objective)}",
        caption=(
            "Items won by each base model at its best rate, against the tokens that it was trained on there "
            "(logarithmic axis). The thick line is the base model that the race names; a cross marks where one was "
            "dropped, and the tooltip says why. Bars are 95 % intervals of its accuracy by itself; the table has those "
            "of the others. Decisions rest on paired comparisons of the same items, with intervals that hold however "
            "often one looks, and on where the curves lead."
        ),
        panels=panels,
        empty="No base model could be looked at.",
        panel_width=640,
        key="Thick: the answer. Cross: dropped.",
    )


def curves(rungs: pl.DataFrame, race: Row) -> alt.LayerChart:
    """Accuracy (percent) over tokens, one line per base model, named at its end. rungs: of `race_rungs`."""
    ends = {row["model_id"]: row["rung"] for row in last_rungs(rungs, race)}
    frame = rungs.filter(pl.col("accuracy").is_not_null()).with_columns(
        (pl.col("model_id") == (race["winner"] or "")).alias("is_winner"),
        (pl.col("rung") == pl.col("model_id").replace_strict(ends, return_dtype=pl.Int64)).alias("is_end"),
        pl.col("decision").replace(DECISIONS).alias("decision_text"),
        pl.struct("decision", "against", "high_points").map_elements(_short, return_dtype=pl.String).alias("short"),
    )
    frame = frame.join(_label_places(frame.filter("is_end")), on="model_id", how="left")
    tips = (
        ("model_id:N", "Base model"),
        ("n_examples:Q", "Training examples", ","),
        ("n_trained_tokens:Q", "Tokens trained on", ","),
        ("learning_rate:Q", "Learning rate", "~e"),
        ("accuracy:Q", "Items won (percent)", ".1f"),
        ("accuracy_low:Q", "from", ".1f"),
        ("accuracy_high:Q", "to", ".1f"),
        ("n_items:Q", "Items", ","),
        ("decision_text:N", "Decision"),
        ("reason:N", "Why"),
    )
    used = frame["n_trained_tokens"].to_list()
    # Room at the right for the names.
    domain = [min(used) / 1.2, max(used) * (max(used) / min(used)) ** 0.3 * 1.3]
    base = alt.Chart(frame).encode(
        x=alt.X(
            "n_trained_tokens:Q",
            title="Tokens trained on",
            scale=alt.Scale(type="log", domain=domain, nice=False),
            axis=alt.Axis(format="~s", grid=False, tickCount=6),
        ),
        y=alt.Y(
            "accuracy:Q",
            title="Items won (percent)",
            scale=alt.Scale(domain=list(charts.padded(frame["accuracy"], 0.12, 1.0)), nice=False, zero=False),
        ),
        detail="model_id:N",
        tooltip=charts.tooltip(tips),
    )
    others, winner = base.transform_filter("!datum.is_winner"), base.transform_filter("datum.is_winner")
    dropped = base.transform_filter("datum.is_end && datum.decision === 'drop'")
    named = base.transform_filter("datum.is_end")
    layers = [
        winner.mark_rule(style="faint-whisker", clip=True).encode(y=alt.Y("accuracy_low:Q"), y2="accuracy_high:Q"),
        others.mark_line(style="behind"),
        winner.mark_line(style="coverage"),
        others.mark_point(style="gain", filled=True, size=30, opacity=1),
        winner.mark_point(style="coverage-point", filled=True, size=46, opacity=1),
        dropped.mark_point(style="strong-loss", shape="cross", angle=45, filled=True, size=110, opacity=1),
        *(
            named.mark_text(style=style, align="left", dx=9, dy=dy).encode(y=alt.Y("label_place:Q"), text=text)
            for style, dy, text in (("value", 0, "model_id:N"), ("note", 13, "short:N"))
        ),
    ]
    return charts.layered(layers, 320)


def _short(row: Row) -> str:
    """Why a base model was dropped, in a few words; empty for others."""
    if row["decision"] != "drop" or row["against"] is None:
        return ""
    if row["high_points"] is not None and row["high_points"] < 0:
        return f"{labels.number(-row['high_points'])} points or more behind {row['against']}"
    return f"not better than {row['against']}"


def _label_places(ends: pl.DataFrame) -> pl.DataFrame:
    """Height of the name of each base model, beside its end, names of one rung apart from each other; in points."""
    room = max(1.0, ends["accuracy"].max() - ends["accuracy"].min()) / 9  # type: ignore[operator]
    places: dict[str, float] = {}
    for _, part in ends.sort("accuracy", descending=True).group_by("rung", maintain_order=True):
        above = float("inf")
        for name, accuracy in part.select("model_id", "accuracy").iter_rows():
            above = places[name] = min(accuracy, above - room)
    return pl.DataFrame({"model_id": list(places), "label_place": list(places.values())})


def last_rungs(rungs: pl.DataFrame, race: Row) -> list[dict[str, Any]]:
    """The last rung of each base model: the answer first, then those that are not told apart, then the others, those
    that came furthest first."""
    last = rungs.sort("rung").unique("model_id", keep="last", maintain_order=True).to_dicts()
    level = race["indifference_set"] or []

    def order(row: Row) -> tuple[bool, bool, int, str]:
        name = row["model_id"]
        return name != race["winner"], name not in level, -row["rung"], name

    return sorted(last, key=order)


def _candidates(rungs: pl.DataFrame, race: dict[str, Any], study: Study) -> Table:
    rows = [row | {"standing": standing(row, race), "why": why(row)} for row in last_rungs(rungs, race)]
    return Table(
        name=study.name("race_candidates", race["objective"]),
        title="Where each base model ended, and why",
        caption=(
            "At its last rung and best rate. Lead: expected accuracy at the full data less that of the other base "
            f"model, in points, with an interval that holds at {labels.percent(race['confidence'])} however often one "
            "looks. Best: probability of being the best of all."
        ),
        rows=rows,
        columns=[
            Col("Base model", "model_id", MODEL),
            Col("Standing", "standing", TEXT),
            Col("Examples", "n_examples", THOUSANDS, note=lambda row: f"rate {row['learning_rate']:g}"),
            Col("Items won", "accuracy", POINTS, "percent", note=_accuracy),
            Col("Lead", "estimate_points", decimals(1, signed=True), "points", note=_lead),
            Col("Best", "probability_best", SHARE),
            Col("Why", "why", LIST),
        ],
    )


def standing(row: Row, race: Row) -> str:
    """What became of a base model. row: of `last_rungs`."""
    if row["model_id"] == race["winner"]:
        return "the answer"
    if row["model_id"] in (race["indifference_set"] or []):
        return "not told apart"
    return DECISIONS.get(row["decision"] or "", row["decision"] or "")


def why(row: Row) -> str:
    """The reason of what became of a base model. No capital: it may begin with a name."""
    return f"{row['reason']}." if row["reason"] else ""


def _accuracy(row: Row) -> str:
    return labels.interval(row["accuracy_low"], row["accuracy_high"])


def _lead(row: Row) -> str:
    if row["against"] is None:
        return ""
    return f"{labels.interval(row['low_points'], row['high_points'], signed=True)} over {row['against']}"


def _methods(answers: pl.DataFrame, objective: str, study: Study) -> Table:
    return Table(
        name=study.name("race_methods", objective),
        title="What other ways to choose would have named",
        caption=(
            "All from the same looks. Regret: accuracy of the best base model at the full data less that of the one "
            "named, in points. Tokens: of training, one that is scored counts a third."
        ),
        rows=answers.to_dicts(),
        columns=[
            Col("Way of choosing", lambda row: METHODS.get(row["method"], row["method"].replace("_", " ")), TEXT),
            Col("Names", "winner", MODEL),
            Col("Regret", "regret_points", POINTS, "points"),
            Col("Tokens", "n_tokens", Format(tokens, "number")),
            Col("Of a census", "share_of_census", SHARE),
            Col("Device hours", "device_hours", _HOURS),
            Col("Says it is best", "probability_best", SHARE),
        ],
    )

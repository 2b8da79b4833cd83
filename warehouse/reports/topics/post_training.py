"""Changes by each post-training stage (Table 1 of the paper)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_CATEGORY, BY_OBJECTIVE, parts
from warehouse.reports.tables import MODEL, POINTS, SIGNED, Col, Row, Table

TITLE = "What post-training changes"
_TRAINED = ("sft", "dpo", "rlvr")


def section(study: Study) -> Section:
    """Per objective a figure of the stages and a table against the base and against the stage before."""
    frame = post_training_stages(study)
    if not frame.height:
        text = "The study holds no models of one line of post-training, so nothing is shown here."
        return Section("post-training", TITLE, (text,))
    items: list[Figure | Table] = []
    for objective, part in parts(frame, "objective"):
        items += [
            _figure(part, objective, study),
            _from_base(part, objective, study),
            _from_parent(part, objective, study),
        ]
    return Section("post-training", TITLE, _sentences(frame), items=tuple(items))


def post_training_stages(study: Study) -> pl.DataFrame:
    """One row per objective, accuracy and model with a value: the preceding stage's value, and both changes."""
    frame = study.read(
        "fct_post_training_stages",
        "objective, model_id, stage, stage_position, base_model_id, parent_model_id, category, value, base_value, "
        "value - change_from_parent_points as parent_value, change_points, change_percent, change_error, "
        "change_error_with_runs, is_change_distinguishable, change_from_parent_points, change_from_parent_percent, "
        "change_from_parent_error, change_from_parent_error_with_runs, is_change_from_parent_distinguishable",
        f"{BY_OBJECTIVE}, {BY_CATEGORY.format(column='category')}, stage_position, model_id",
    )
    return frame.filter(pl.col("value").is_not_null())


def stage_steps(frame: pl.DataFrame) -> alt.LayerChart:
    """One accuracy: a line from the preceding stage's value (hollow) to the model's own (filled).

    frame: rows of `post_training_stages` of one objective and accuracy. The base is the upright line; the number at
    the right is the change from the base in points and in percent of the base.
    """
    tips = (
        ("model_id:N", "Model"),
        ("stage_text:N", "Last stage"),
        ("category_text:N", "Accuracy on"),
        ("value:Q", "Accuracy (percent)", ".1f"),
        ("change_points:Q", "Change from the base (points)", "+.1f"),
        ("change_percent:Q", "Change from the base (%)", "+.1f"),
        ("change_error_with_runs:Q", "Its standard error, with training runs", ".1f"),
        ("parent_model_id:N", "Preceding stage"),
        ("change_from_parent_points:Q", "Change from the preceding stage (points)", "+.1f"),
        ("change_from_parent_percent:Q", "Change from the preceding stage (%)", "+.1f"),
        ("change_from_parent_error_with_runs:Q", "Its standard error, with training runs", ".1f"),
    )
    frame = charts.ranked(frame, "model_id").with_columns(
        pl.col("category").replace(labels.TARGETS).alias("category_text"),
        charts.named("stage", labels.stage, "stage_text"),
        pl.struct("change_points", "change_percent").map_elements(_change, return_dtype=pl.String).alias("text"),
        (pl.col("change_from_parent_points") < 0).alias("is_loss"),
        pl.col("parent_model_id").is_null().alias("is_base"),
    )
    low = frame.select(pl.min_horizontal("value", "parent_value").min()).item()
    high = frame.select(pl.max_horizontal("value", "parent_value").max()).item()
    room = max(high - low, 4.0)
    x = charts.across("value", "Accuracy (percent)", (low - 0.08 * room, high + 1.05 * room), tickCount=5)
    base = charts.row_chart(frame, "model_id", tips)
    layers = [alt.Chart(frame.head(1)).mark_rule(style="chance").encode(x=alt.X("base_value:Q"))]
    for condition, line, mark in (
        ("!datum.is_base && !datum.is_loss", "gain-line", "strong-gain"),
        ("!datum.is_base && datum.is_loss", "loss-line", "strong-loss"),
    ):
        part = base.transform_filter(condition)
        layers.append(part.mark_rule(style=line).encode(x=alt.X("parent_value:Q"), x2="value:Q"))
        layers.append(charts.dots(part, alt.X("parent_value:Q"), "hollow", 44))
        layers.append(charts.dots(part, x, mark))
    layers.append(charts.dots(base.transform_filter("datum.is_base"), x, "estimate"))
    layers.append(charts.value_at_right(base, "text:N"))
    return charts.layered(layers, 26 * frame.height)


def _change(row: dict[str, float | None]) -> str:
    if row["change_points"] is None:
        return "base"
    points, percent = (labels.number(row[name], signed=True) for name in ("change_points", "change_percent"))
    return f"{points} ({percent} %)"


def _figure(part: pl.DataFrame, objective: str, study: Study) -> Figure:
    base, panels = part["base_model_id"][0], []
    for category, rows in parts(part, "category"):
        name = labels.target(category)
        panels.append(
            Panel(
                title=name,
                label=(
                    f"Chart of steps: accuracy on {name} of {rows.height} models from {base}, each from its preceding "
                    "stage to its own value."
                ),
                chart=stage_steps(rows),
            )
        )
    return Figure(
        name=study.name("post_training", objective),
        title=f"{labels.objective(objective)}: from {base} through its post-training stages",
        caption=(
            "A line runs from the preceding stage's accuracy (hollow) to the model's own (filled): blue is better, "
            "orange worse; the dotted upright line is the base. The number at the right is the change from the base in "
            "percentage points, and in percent of the base's value. "
            f"n = {labels.plural(part['model_id'].n_unique(), 'model')}; compare Table 1 of the paper."
        ),
        panels=tuple(panels),
        key="Hollow: preceding stage; filled: the model; dotted: base; right: change from it",
        columns=2,
        panel_width=400,
    )


def _from_base(part: pl.DataFrame, objective: str, study: Study) -> Table:
    def note(row: Row) -> str:
        if row["change_percent"] is None:
            return ""
        change = labels.with_error(row["change_points"], row["change_error_with_runs"])
        return f"{change} ({labels.number(row['change_percent'], signed=True)} %)"

    columns = [_column(name, title, "value", "percent", note) for name, title in labels.TARGETS.items()]
    return Table(
        name=f"{study.name('post_training', objective)}_base",
        title="Each stage against the base",
        caption=(
            "Accuracy in percent; under it the change from the base in points with its standard error over test "
            "questions and training runs, and in percent of the base."
        ),
        rows=_by_model(part),
        columns=[*_MODEL_COLUMNS, *columns],
    )


def _from_parent(part: pl.DataFrame, objective: str, study: Study) -> Table:
    def note(row: Row) -> str:
        if row["change_from_parent_percent"] is None:
            return ""
        error = labels.number(row["change_from_parent_error_with_runs"])
        told = "" if row["is_change_from_parent_distinguishable"] else ", within noise"
        return f"± {error} ({labels.number(row['change_from_parent_percent'], signed=True)} %){told}"

    parent = Col("Preceding stage", "parent_model_id", MODEL)
    unit, key = "percentage points", "change_from_parent_points"
    columns = [_column(name, title, key, unit, note) for name, title in labels.TARGETS.items()]
    return Table(
        name=f"{study.name('post_training', objective)}_parent",
        title="Each stage against the one before it",
        caption=(
            "Change from the preceding stage in points; under it its standard error over test questions and training "
            "runs, and the change in percent of that stage's value. Within noise: less than 1.96 of these errors."
        ),
        rows=_by_model(part.filter(pl.col("parent_model_id").is_not_null())),
        columns=[*_MODEL_COLUMNS, parent, *columns],
        empty="The study holds no post-training stages, so there is no table.",
    )


_MODEL_COLUMNS = (Col("Model", "model_id", MODEL), Col("Last stage", lambda row: labels.stage(row["stage"])))


def _by_model(frame: pl.DataFrame) -> list[Row]:
    """One row per model, with its rows of `post_training_stages` by accuracy under `by`."""
    return [
        part.row(0, named=True) | {"by": {row["category"]: row for row in part.to_dicts()}}
        for _, part in parts(frame, "model_id")
    ]


def _column(category: str, title: str, key: str, unit: str, note: Callable[[Row], str]) -> Col:
    return Col(
        title,
        lambda row: row["by"].get(category, {}).get(key),
        POINTS if key == "value" else SIGNED,
        unit,
        note=lambda row: note(row["by"][category]) if category in row["by"] else "",
    )


def _sentences(frame: pl.DataFrame) -> tuple[str, ...]:
    """One sentence per training stage: the score's step from the preceding stage, and from the base if another, each
    with its standard error over test questions, and over training runs, too."""
    steps = frame.filter(pl.col("stage").is_in(_TRAINED), pl.col("parent_model_id").is_not_null(), category="score")
    sentences = []
    for row in steps.to_dicts():
        text = (
            f"{row['model_id']} ({labels.stage(row['stage'])}) scores {labels.number(row['value'])}: "
            f"{_step(row, 'change_from_parent')} on {row['parent_model_id']}"
        )
        if not row["is_change_from_parent_distinguishable"]:
            text += ", not distinguishable from it"
        if row["parent_model_id"] != row["base_model_id"]:
            text += f"; {_step(row, 'change')} on the base"
            text += "" if row["is_change_distinguishable"] else ", not distinguishable from it"
        sentences.append(f"{text}.")
    noise = (
        "± is the standard error over test questions; in brackets the one that counts training runs, too, of which "
        "there is one per stage. A step is distinguishable from 1.96 of the latter on."
    )
    return (" ".join(sentences), noise) if sentences else ()


def _step(row: dict[str, Any], name: str) -> str:
    """`−2.6 ± 1.1 points (± 1.5)`."""
    text = f"{labels.with_error(row[f'{name}_points'], row[f'{name}_error'])} points"
    runs = row[f"{name}_error_with_runs"]
    return text if runs is None else f"{text} (± {labels.number(runs)})"

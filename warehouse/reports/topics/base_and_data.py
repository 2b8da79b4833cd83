"""What base model and training data explain of a reward model's score (RewardBench 2, Tables 4 and 5)."""

from __future__ import annotations

import math
from functools import partial

import altair as alt
import polars as pl

from warehouse.contracts.leads import LEAD_REACH
from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.tables import MODEL, POINTS, SIGNED, TEXT, Col, Row, Table

CATEGORIES = {
    "average": "Average",
    "factuality": "Factuality",
    "precise_if": "Precise IF",
    "math": "Math",
    "safety": "Safety",
    "focus": "Focus",
    "ties": "Ties",
}
EFFECTS = {"base": "Base model", "data": "Training data", "rest": "The rest"}


def section(study: Study) -> Section | None:
    """Paragraphs, the shares as a figure, and the results; None for a study without such tables."""
    effects, results = base_and_data_effects(study), base_by_data_results(study)
    if not results.height:
        return None
    average = {row["effect"]: row for row in effects.filter(category="average").to_dicts()}
    paragraphs = (*_explained(average, results), *_beside_the_paper(study, average)) if average else ()
    items: list[Figure | Table] = [_figure(effects, study)] if average else []
    return Section("base-and-data", "Base model or training data", paragraphs, items=(*items, _table(results, study)))


def base_and_data_effects(study: Study) -> pl.DataFrame:
    """One row per category and effect (base, data, rest) with its share of the sum of squares."""
    return study.read(
        "fct_base_and_data_effects",
        "category, effect, n_bases, n_data, degrees_of_freedom, share, share_error, residual_deviation, "
        "standard_error_of_mean",
        f"list_position({list(CATEGORIES)}, category), list_position({list(EFFECTS)}, effect)",
        optional=True,
    )


def base_by_data_results(study: Study) -> pl.DataFrame:
    """One row per category, base and training set, best base first."""
    return study.read(
        "fct_base_by_data_results",
        "category, model_id, training_data, value, is_in_grid, base_mean, data_mean, residual, paper_table",
        f"list_position({list(CATEGORIES)}, category), avg(value) over (partition by category, model_id) desc, "
        "model_id, training_data",
        optional=True,
    )


def effect_shares(frame: pl.DataFrame) -> alt.LayerChart:
    """Share of each effect, one row per category; frame: rows of `base_and_data_effects` of one effect."""
    frame = charts.ranked(frame, "category").with_columns(
        pl.col("category").replace(CATEGORIES).alias("category_text"),
        (pl.col("share") - pl.col("share_error")).clip(0, 1).alias("low"),
        (pl.col("share") + pl.col("share_error")).clip(0, 1).alias("high"),
    )
    tips = (
        ("category_text:N", "Domain"),
        ("share:Q", "Share of the sum of squares", ".2f"),
        ("share_error:Q", "Its standard error over bases", ".2f"),
        ("residual_deviation:Q", "Deviation of the rest (points)", ".1f"),
    )
    base = charts.row_chart(charts.ranked(frame, "category_text"), "category_text", tips)
    x = charts.across("share", "Share of the sum of squares", (0.0, 1.15), values=[0, 0.25, 0.5, 0.75, 1], format="%")
    layers = [
        *charts.bars(base, x, {"true": "gain"}),
        charts.whisker(base, "low", "high"),
        charts.value_at_right(base, "share:Q", ".2f"),
    ]
    return charts.layered(layers, 24 * frame.height)


def _explained(average: dict[str, dict], results: pl.DataFrame) -> tuple[str, ...]:
    base, data, rest = (average[name] for name in EFFECTS)
    grid = results.filter("is_in_grid", category="average")
    bases, sets = _means(grid, "model_id", "base_mean"), _means(grid, "training_data", "data_mean")
    told = abs(base["share"] - data["share"]) > LEAD_REACH * math.hypot(base["share_error"], data["share_error"])
    level = "" if told else ": with so few bases the two shares are not distinguishable"
    return (
        f"RewardBench 2 trains reward models on {base['n_bases']} base models of 7 to 8 billion parameters with each "
        f"of {base['n_data']} training sets. Of the sum of squares of their averages the base explains "
        f"{_share(base)}, the data {_share(data)}, and {_share(rest)} is the rest: interaction and the noise of single "
        "training runs, which one run each cannot separate. ± is a standard error over the bases (delete-one "
        f"jackknife){level}.",
        f"Means of the bases (± {labels.number(base['standard_error_of_mean'])} each): {bases}. Means of the training "
        f"sets (± {labels.number(data['standard_error_of_mean'])}): {sets}. The errors come from the rest, a deviation "
        f"of {labels.number(rest['residual_deviation'])} points per reward model.",
    )


def _means(grid: pl.DataFrame, name: str, mean: str) -> str:
    """`Llama 8B Instruct 70.9, ...`, largest first, of equal ones by name."""
    rows = grid.select(name, mean).unique().sort(mean, name, descending=[True, False]).iter_rows()
    return ", ".join(f"{level} {labels.number(value)}" for level, value in rows)


def _share(row: dict) -> str:
    return f"{labels.number(row['share'], 2)} ± {labels.number(row['share_error'], 2)}"


def _beside_the_paper(study: Study, average: dict[str, dict]) -> tuple[str, ...]:
    """The same question for the studies on RewardBench: there one recipe is fixed and only the base varies."""
    found = study.connection.execute(
        """
        select objective, count(*) as n, stddev_samp(score) as deviation, min(score) as low, max(score) as high
        from marts.fct_reward_model_results
        inner join marts.dim_base_models using (study_id, model_id)
        where basis = 'published' and is_comparable and params_b between 7 and 10
        group by objective order by objective desc
        """
    ).pl()
    if not found.height:
        return ()
    texts = [
        f"{labels.number(row['low'])} to {labels.number(row['high'])} by {labels.objective(row['objective'])} "
        f"({labels.plural(row['n'], 'base')}, deviation {labels.number(row['deviation'])} points)"
        for row in found.to_dicts()
    ]
    return (
        "The paper's picture is of the base alone, for its data and recipes are fixed: bases of 7 to 10 billion "
        f"parameters score {labels.listing(texts)} on RewardBench. Here the training set varies, too, and explains "
        f"{_share(average['data'])} of the sum of squares. The scores do not compare: RewardBench 2 asks for "
        "the best of four, where chance is 25 and not 50, and its Ties domain is scored in its own way.",
    )


def _figure(effects: pl.DataFrame, study: Study) -> Figure:
    panels = [
        Panel(
            title=title,
            label=f"Bar chart: share of the sum of squares that {title.lower()} explains, by domain of RewardBench 2.",
            chart=effect_shares(effects.filter(effect=effect)),
        )
        for effect, title in EFFECTS.items()
    ]
    first = effects.row(0, named=True)
    n = first["n_bases"] * first["n_data"]
    return Figure(
        name=study.name("base_and_data"),
        title="What base model and training data explain, by domain",
        caption=(
            "Share of the sum of squares of the results; lines are one standard error over the bases to either side "
            f"(delete-one jackknife). n = {n} reward models, those of bases with every training set."
        ),
        panels=tuple(panels),
        key="Share of the sum of squares; lines: one standard error over bases",
        columns=3,
        panel_width=300,
    )


def _of_category(row: Row, key: str) -> float | None:
    value: float | None = row["by"].get(key)
    return value


def _table(results: pl.DataFrame, study: Study) -> Table:
    rows = [
        part.row(0, named=True) | {"by": dict(part.select("category", "value").iter_rows())}
        for _, part in results.group_by("model_id", "training_data", maintain_order=True)
    ]
    return Table(
        name=study.name("base_by_data"),
        title="All reward models",
        caption=(
            "RewardBench 2, in percent: best of four, where chance is 25, except Ties. Rest: the average minus what "
            "base and data add up to, in points; a dash: the base was not trained on every set. One training each."
        ),
        rows=rows,
        columns=[
            Col("Base model", "model_id", MODEL),
            Col("Training data", "training_data", TEXT),
            *(Col(title, partial(_of_category, key=key), POINTS) for key, title in CATEGORIES.items()),
            Col("Rest", "residual", SIGNED, "points"),
            Col("Source", "paper_table"),
        ],
    )

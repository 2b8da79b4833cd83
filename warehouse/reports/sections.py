"""The sections of a study, in the order they are read: marts in, figures, tables and sentences out."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import polars as pl

from warehouse import marts, performance_marts
from warehouse.reports import (
    answer,
    components,
    documents,
    evidence,
    lab,
    performance,
    prediction,
    recommendations,
    tables,
    training,
    words,
)
from warehouse.reports.charts import differences, gains, post_training
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Figure, Panel, Section, StudyPage, Table
from warehouse.reports.results import section as result_section


def study_page(connection: duckdb.DuckDBPyConnection, study: dict[str, object], slug: str) -> StudyPage:
    """Read everything the report shows of a study; study is a row of marts.studies, slug starts its file
    names.
    """
    study_id = str(study["study_id"])
    best = marts.best_in_group(connection, study_id)
    results = marts.reward_model_results(connection, study_id)
    correlations = marts.correlations(connection, study_id)
    limits = marts.correlation_limits(connection, study_id)
    coverage = marts.coverage(connection, study_id)
    models = marts.base_models(connection, study_id)
    sections = (
        answer.section(best, slug, has_results=results.height > 0),
        _gains(marts.size_group_gains(connection, study_id), slug),
        recommendations.section(performance_marts.recommendations(connection, study_id), slug),
        evidence.correlation_section(
            correlations, limits, marts.untested_features(connection, study_id), slug, str(study["source"])
        ),
        evidence.coverage_section(coverage, limits, slug),
        *_performance(connection, study_id, coverage, slug),
        components.section(performance_marts.components(connection, study_id), slug, str(study["source"])),
        _differences(marts.objective_differences(connection, study_id), slug),
        _post_training(marts.post_training_stages(connection, study_id), slug),
        result_section(connection, study_id, results, models, slug),
        *training.sections(connection, study_id, slug),
        *documents.sections(connection, study_id, slug),
        *lab.sections(connection, study_id, slug),
        _materials(marts.benchmarks(connection, study_id), models, limits, slug),
    )
    return StudyPage(
        slug=slug,
        study_id=study_id,
        title=str(study["title"]),
        source=str(study["source"]),
        synthetic=bool(study["synthetic"]),
        sections=tuple(map(_synthetic, sections)) if study["synthetic"] else sections,
        sources=tuple(marts.sources(connection, study_id).to_dicts()),
    )


def _synthetic(section: Section) -> Section:
    """The section with figures that say, also where they stand alone, that their data were made up."""
    items = [
        replace(item, caption=f"Synthetic data. {item.caption}", key=f"Synthetic data. {item.key}".rstrip())
        if isinstance(item, Figure)
        else item
        for item in section.items
    ]
    return replace(section, items=tuple(items))


def _performance(
    connection: duckdb.DuckDBPyConnection, study_id: str, coverage: pl.DataFrame, slug: str
) -> tuple[Section, ...]:
    """The sections of the performance model; without one they say why."""
    scores = performance_marts.scores(connection, study_id)
    abstentions = performance_marts.abstentions(connection, study_id)
    absence = prediction.absence(scores, abstentions)
    return (
        prediction.section(
            scores,
            performance_marts.predictions(connection, study_id),
            abstentions,
            performance_marts.excluded_features(connection, study_id),
            slug,
        ),
        performance.coefficient_section(
            performance_marts.coefficients(connection, study_id),
            performance_marts.final_settings(connection, study_id),
            absence,
            slug,
        ),
        performance.coverage_section(
            performance_marts.predicted_coverage(connection, study_id), coverage, absence, slug
        ),
    )


def _gains(frame: pl.DataFrame, slug: str) -> Section:
    figures = []
    for objective, part in parts(frame, "objective"):
        domain = gains.gain_range(part)
        panels = []
        for group, rows in parts(part, "size_group"):
            best = rows.row(0, named=True)
            panels.append(
                Panel(
                    title=f"{words.size_group(group)} (n = {rows.height})",
                    label=(
                        f"Bar chart: gain in score over {best['default_model_id']} for {rows.height} base "
                        f"models of size group {group}, {words.objective(objective)}. Best: "
                        f"{best['model_id']}, {words.number(best['gain_points'], signed=True)} points, score "
                        f"{words.number(best['score'])}."
                    ),
                    chart=gains.gain_bars(rows, domain),
                )
            )
        figures.append(
            Figure(
                name=f"{slug}_gains_{words.slug(objective)}",
                title=f"{words.objective(objective)}: gain over the default of the size group",
                caption=(
                    "Each bar is a base model's RewardBench score minus that of its size group's default "
                    "(diamond), in percentage points; dark blue is the group's best, orange is worse than "
                    "the default. Thin lines are approximate 95 % intervals from the number of test pairs. "
                    "The figure at the right is the score (0-100). n = "
                    f"{words.plural(part.height, 'model')}; as Figure 2 of the paper, whose text calls these "
                    "points percent."
                ),
                panels=tuple(panels),
                empty="",
                key="Diamond: the default; lines: approximate 95 % intervals; figure at the right: score",
                panel_width=620,
            )
        )
    return Section(
        key="gains",
        title="Ranking and gain per size group",
        paragraphs=(
            "How much better or worse does a reward model get if only the base model is changed? Models are "
            "compared within their size group, for each training objective apart.",
        )
        if figures
        else ("The study holds no results that could be compared with a default, so there is no ranking.",),
        items=tuple(figures),
    )


def _differences(frame: pl.DataFrame, slug: str) -> Section:
    score = frame.filter(pl.col("category") == "score")
    negative = score.filter(pl.col("difference_points") < 0)
    names = [
        f"{row['model_id']} ({words.number(row['difference_points'], signed=True)})"
        for row in negative.iter_rows(named=True)
    ]
    exceptions = (
        f"The sign is negative, so Bradley-Terry is better, for {words.listing(names)}."
        if names
        else "It is negative for no model."
    )
    panels = [
        Panel(
            title=words.TARGETS.get(category, category),
            label=(
                f"Bar chart: regression minus Bradley-Terry on {words.TARGETS.get(category, category)} for "
                f"{part.height} base models, from "
                f"{words.number(part.row(0, named=True)['difference_points'], signed=True)} to "
                f"{words.number(part.row(-1, named=True)['difference_points'], signed=True)} points."
            ),
            chart=differences.difference_bars(part),
        )
        for category, part in parts(frame, "category")
    ]
    figure = Figure(
        name=f"{slug}_objective_differences",
        title="Regression minus Bradley-Terry, per base model",
        caption=(
            "A bar to the right says that the regression reward model of this base has the higher score, in "
            f"percentage points. {exceptions} n = {words.plural(score.height, 'model')} with both "
            "objectives; compare Figure 11 of the paper. Choose another accuracy above the chart; the "
            "exported picture shows the score."
        ),
        panels=tuple(panels),
        empty="No model of this study was trained with both objectives, so there is no difference to show.",
        key="Positive: regression is better",
        panel_width=620,
        choice=True,
    )
    above = score.height - negative.height
    summary = f"Of {score.height} base models, {above} make the better reward model by regression."
    return Section("objectives", "Which objective", (summary,) if score.height else (), items=(figure,))


def _post_training(frame: pl.DataFrame, slug: str) -> Section:
    items: list[Figure | Table] = []
    for objective, part in parts(frame, "objective"):
        base = part.row(0, named=True)["base_model_id"]
        name = f"{slug}_post_training_{words.slug(objective)}"
        panels = [
            Panel(
                title=words.TARGETS.get(category, category),
                label=(
                    f"Chart of steps: accuracy on {words.TARGETS.get(category, category)} of {rows.height} "
                    f"models from {base}, each from its preceding stage to its own value."
                ),
                chart=post_training.stage_steps(rows),
            )
            for category, rows in parts(part, "category")
        ]
        items.append(
            Figure(
                name=name,
                title=f"{words.objective(objective)}: from {base} through its post-training stages",
                caption=(
                    "A line runs from the preceding stage's accuracy (hollow) to the model's own (filled): "
                    "blue is better, orange worse; the dotted upright is the base. The figure at the right "
                    "is the change from the base in percentage points, and in percent of the base's value. "
                    f"n = {words.plural(part['model_id'].n_unique(), 'model')}; compare Table 1 of the paper."
                ),
                panels=tuple(panels),
                empty="",
                key="Hollow: preceding stage; filled: the model; dotted: base; right: change from it",
                columns=2,
                panel_width=400,
            )
        )
        items.append(tables.changes_from_base(part, f"{name}_base"))
        items.append(tables.changes_from_parent(part, f"{name}_parent"))
    paragraphs = (
        _stage_sentences(frame)
        if items
        else ("The study holds no models of one line of post-training, so nothing is shown here.",)
    )
    return Section("post-training", "What post-training changes", paragraphs, items=tuple(items))


def _stage_sentences(frame: pl.DataFrame) -> tuple[str, ...]:
    """One sentence per training stage: the score's step from the preceding stage, and from the base where
    that differs.
    """
    steps = frame.filter((pl.col("category") == "score") & pl.col("stage").is_in(["sft", "dpo", "rlvr"]))
    sentences = []
    for row in steps.filter(pl.col("parent_model_id").is_not_null()).iter_rows(named=True):
        text = (
            f"{row['model_id']} ({words.stage(row['stage'])}) scores {words.number(row['value'])}: "
            f"{words.change(row['change_from_parent_points'], row['change_from_parent_percent'])} "
            f"on {row['parent_model_id']}"
        )
        if row["parent_model_id"] != row["base_model_id"]:
            text += f", {words.change(row['change_points'], row['change_percent'])} on the base"
        sentences.append(text + ".")
    return (" ".join(sentences),) if sentences else ()


def _materials(benchmarks: pl.DataFrame, models: pl.DataFrame, limits: pl.DataFrame, slug: str) -> Section:
    return Section(
        "materials",
        "What was compared, and with which values",
        (evidence.coverage_of_models(limits, models.filter(pl.col("is_compared")).height),),
        items=(
            tables.benchmarks(benchmarks, f"{slug}_benchmarks"),
            tables.base_models(models, f"{slug}_models"),
        ),
    )

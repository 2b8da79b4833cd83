"""Models and values compared: benchmarks, models, and where the study's data are from."""

from __future__ import annotations

import math

import polars as pl

from warehouse.reports import labels, queries
from warehouse.reports.elements import Section, Study
from warehouse.reports.tables import COUNT, MODEL, Col, Format, Row, Table
from warehouse.reports.topics import correlations


def section(study: Study) -> Section:
    """Benchmarks, models and seed files, each as a table."""
    models = queries.base_models(study.connection, study.study_id)
    limits = correlations.correlation_limits(correlations.feature_pairs(study))
    text = values_per_feature(limits, models.filter("is_compared").height)
    items = (_benchmark_table(study), _pipeline_table(study), _model_table(models, study), _seed_table(study))
    return Section("sources", "What was compared, and with which values", (text,), items=items)


def values_per_feature(limits: pl.DataFrame, n_models: int) -> str:
    """How many features have values for all models; limits: of `correlations.correlation_limits`."""
    compared = f"{labels.plural(n_models, 'base model')} compared"
    if not limits.height:
        return f"{compared}; no feature has enough values to be tested."
    full = int(limits.filter(pl.col("n") >= n_models)["n_features"].sum())
    total = int(limits["n_features"].sum())
    return (
        f"{compared}. Of the {total} features that were tested, {full} have a value for all of them; the correlations "
        f"of the other {total - full} rest on fewer than {n_models} models."
    )


def _benchmark_table(study: Study) -> Table:
    columns = "benchmark, framework, topic, shots, citation, n_models, n_joined, n_exact, n_close, n_loose"
    return Table(
        name=study.name("benchmarks"),
        title="Benchmarks and how many models have a value",
        caption=(
            "Values of a benchmark are of one evaluation pipeline, or brought to its scale by an offset (next table). "
            "The match compares a value with the benchmark as named: exact; close, with other shots, prompt or metric, "
            "or not stated; loose, of another task or a set-up that is not comparable. Loose ones are counted here, "
            "and not used unless the study says so."
        ),
        rows=study.read("dim_benchmarks", columns, "n_models desc, benchmark").to_dicts(),
        columns=[
            Col("Benchmark", "benchmark"),
            Col("Topic", "topic"),
            Col("Framework", "framework"),
            Col("Shots", "shots"),
            Col("Models used", "n_models", COUNT),
            Col("By an offset", "n_joined", COUNT, hint="of these, values of another pipeline minus its offset"),
            Col("Exact", "n_exact", COUNT),
            Col("Close", "n_close", COUNT),
            Col("Loose", "n_loose", COUNT),
            Col("Citation", "citation"),
        ],
        empty="The study holds no benchmark values, so there is no table.",
    )


def _pipeline_table(study: Study) -> Table:
    found = correlations.pipelines(study)
    return Table(
        name=study.name("pipelines"),
        title="Pipelines of each benchmark",
        caption=(
            "A pipeline is harness, prompt, shots and metric; pipelines differ by tens of points on the same model. "
            "The one with the most models is the main one of a benchmark. Another joins minus its offset, the mean "
            "difference on the models that both measured (± standard error), if these are enough (definitions, Section "
            "3). Values of the others are not used."
        ),
        rows=found.to_dicts(),
        columns=[
            Col("Benchmark", lambda row: labels.feature(row["feature"])),
            Col("Pipeline", "pipeline"),
            Col("Models", "n_models", COUNT),
            Col("Shared", "n_shared_models", COUNT, hint="of these, models that the main pipeline measured, too"),
            Col("Offset", _offset, sort=lambda row: row["pipeline_offset"], hint="in points"),
            Col("Values used", "n_used", COUNT),
            Col("Role", _pipeline_role),
        ],
        empty="The study holds no benchmark values, so there is no table.",
    )


def _offset(row: Row) -> str | None:
    """The offset with its standard error; None of the main pipeline."""
    if row["is_main_pipeline"] or row["pipeline_offset"] is None:
        return None
    offset = labels.number(row["pipeline_offset"], signed=True)
    return offset if row["standard_error"] is None else f"{offset} ± {labels.number(row['standard_error'])}"


def _pipeline_role(row: Row) -> str:
    if row["is_main_pipeline"]:
        return "main"
    if row["main_pipeline"] is None:
        return "not used: no pipeline has the most models"
    if not row["is_joined"]:
        return "not used: too few shared models"
    return "joined by its offset" if row["n_used"] else "not needed"


def _model_table(frame: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("models"),
        title="Models",
        caption="Parameters in billions, pre-training tokens in trillions as the publishers state them.",
        rows=frame.to_dicts(),
        columns=[
            Col("Base model", "model_id", MODEL),
            Col("Hub id", "hub_id", MODEL),
            Col("Publisher", "publisher"),
            Col("Parameters (B)", "params_b", _at_least(2)),
            Col("Tokens (T)", "tokens_t", _at_least(1)),
            Col("Released", "release_month", sort=_month),
            Col("Last stage", lambda row: row["stage"] and labels.stage(row["stage"])),
            Col("Size group", _role),
        ],
        empty="The study holds no models, so there is no table.",
    )


def _seed_table(study: Study) -> Table:
    columns = "seed, file, paper_table, source, licence, n_rows, sha256"
    prose = Format(str, "prose")
    return Table(
        name=study.name("seeds"),
        title="Seed files",
        caption="Files of the repository that the study's data come from; the SHA-256 is that of the file, shortened.",
        rows=study.read("dim_sources", columns, "seed").to_dicts(),
        columns=[
            Col("Seed", "seed"),
            Col("File", "file"),
            Col("Table of the paper", "paper_table"),
            Col("Source", "source", prose),
            Col("Licence", "licence", prose),
            Col("Rows", "n_rows", COUNT),
            Col("SHA-256", lambda row: row["sha256"] and row["sha256"][:12]),
        ],
        empty="No seed files are recorded for this study.",
    )


def _at_least(usual: int) -> Format:
    """The usual number of digits, or as many as a small value needs for two that are not zero."""

    def write(value: float) -> str:
        small = value and value < 10**-usual
        return labels.number(value, 1 - math.floor(math.log10(value)) if small else usual)

    return Format(write, "number")


def _role(row: Row) -> str:
    if not row["is_compared"]:
        return "post-training comparison only"
    group = labels.short_size_group(str(row["size_group"]))
    return f"{group}, the default" if row["is_default"] else group


def _month(row: Row) -> str | None:
    """'09/2024' sorts as '2024-09'; any other text as it is."""
    parts = (row["release_month"] or "").split("/")
    return f"{parts[1]}-{parts[0]}" if len(parts) == 2 else row["release_month"]

"""Costs of the answers: device hours, tokens, memory and money per job, for studies that run jobs of their own."""

from __future__ import annotations

import polars as pl

from warehouse.reports import labels
from warehouse.reports.elements import Section, Study
from warehouse.reports.tables import COUNT, MODEL, POINTS, THOUSANDS, Col, Table, decimals

JOBS = {
    "train_reward_model": "training",
    "score_completions": "scoring completions",
    "score_reward_model": "scoring completions",
    "score_documents": "scoring documents",
    "run_benchmarks": "benchmarks",
    "sample_responses": "sampling responses",
    "race": "racing base models",
}
OF_OTHERS = ("score_reward_model", "sample_responses")
"""Jobs whose variant is shown as it is."""


def section(study: Study) -> Section | None:
    """The totals and a table by job; None for a study without jobs."""
    costs = run_costs(study)
    if not costs.height:
        return None
    return Section("costs", "What the answers cost", (totals(costs),), items=(cost_table(costs, study),))


def run_costs(study: Study) -> pl.DataFrame:
    """One row per job, variant and model, the most expensive first within a job and variant."""
    return study.read(
        "fct_run_costs",
        "job, variant, objective, model_id, n_tokens, gpu_hours, device_hours, device, n_devices, is_gpu, "
        "peak_memory_gib, tokens_per_device_second, planned_device_hours, planned_error_percent, usd_per_gpu_hour, usd",
        f"list_position({list(JOBS)}, job), variant, device_hours desc, model_id",
        optional=True,
    )


def totals(costs: pl.DataFrame) -> str:
    """Hours, tokens and money of all jobs; costs: of `run_costs`."""
    gpu, device = (float(costs[name].sum()) for name in ("gpu_hours", "device_hours"))
    tokens = int(costs["n_tokens"].sum())
    hours = f"{labels.number(gpu)} GPU hours" if gpu else f"{labels.number(device, 2)} hours on CPUs, none on GPUs"
    text = f"In all {hours} for {tokens:,} tokens through {labels.plural(costs['model_id'].n_unique(), 'model')}."
    priced = costs.filter(pl.col("usd").is_not_null())
    if not priced.height:
        return f"{text} No price of a GPU hour is set (dbt variable usd_per_gpu_hour), so no cost in money is given."
    usd = labels.number(float(priced["usd"].sum()), 2)
    return f"{text} At {priced['usd_per_gpu_hour'][0]:g} USD per GPU hour that is {usd} USD."


def purpose(variant: str) -> str:
    """Objective, further seed and benchmark, or the engine, as readers see them."""
    trained, _, benchmark = variant.partition("@")
    name, _, seed = trained.partition("/s")
    return labels.objective(name) + (f", seed {seed}" if seed else "") + (f", {benchmark}" if benchmark else "")


def cost_table(costs: pl.DataFrame, study: Study) -> Table:
    """One row per job and model; device hours and money only where they say something."""
    hundredths = decimals(2)
    columns = [
        Col("Model", "model_id", MODEL),
        Col("Job", lambda row: JOBS.get(row["job"], row["job"])),
        Col(
            "For",
            lambda row: row["variant"] if row["job"] in OF_OTHERS else purpose(row["variant"]),
            hint="objective and benchmark, or engine of document scoring or sampling",
        ),
        Col("Tokens", "n_tokens", THOUSANDS),
        Col("GPU hours", "gpu_hours", hundredths),
        Col("Device hours", "device_hours", hundredths, "GPUs and CPUs"),
        Col(
            "Device",
            lambda row: row["device"] if row["n_devices"] == 1 else f"{row['n_devices']} × {row['device']}",
        ),
        Col("Memory", "peak_memory_gib", POINTS, "largest in use on a device, GiB"),
        Col("Speed", "tokens_per_device_second", COUNT, "tokens per second and device"),
        Col("Planned", "planned_device_hours", hundredths, "device hours that `make plan` gave before"),
        Col("Error", "planned_error_percent", COUNT, "of the planned device hours, percent"),
        Col("USD", "usd", hundredths, "GPU hours at the stated price"),
    ]
    left_out = set()
    if costs["is_gpu"].all():
        left_out.add("Device hours")
    if costs["usd"].is_null().all():
        left_out.add("USD")
    if costs["planned_device_hours"].is_null().all():
        left_out |= {"Planned", "Error"}
    return Table(
        name=study.name("run_costs"),
        title="Costs by job",
        caption=(
            "Training counts every run of the search. Hours are those of all devices together; a job that was resumed "
            "counts all of its parts. Memory: largest in use on a device, GiB. Speed: tokens per second of one device."
        ),
        rows=costs.to_dicts(),
        columns=[column for column in columns if column.heading not in left_out],
    )

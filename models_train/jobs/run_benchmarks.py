"""Run the benchmarks of a study on one base model through lm-evaluation-harness, and write their part.

Where the part is there, no model is run: it is only marked as the newest again. Results of finished tasks are kept in
`<home>/benchmarks/`: an interrupted run resumes there, and an added task does not repeat the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from models_train.benchmarks.lm_eval import CountedModel, load, run_benchmarks
from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import beside_others, model_of, study_of
from models_train.metering import default_device
from models_train.modeling.base_models import model_source
from models_train.parts import part_path, part_rows, write_part
from models_train.store import parts_of
from models_train.study.benchmarks import Benchmark, Benchmarks
from models_train.study.fingerprints import benchmark_run_id, task_results_id
from models_train.study.models import StudyModel
from warehouse.contracts import REWARD_MODEL_TABLES
from warehouse.contracts.studies import BENCHMARK_RESULTS, run_of

JOB = "run_benchmarks"
VARIANT = "lm_eval"
RUN_COSTS = REWARD_MODEL_TABLES["run_costs"]


def run(path: Path, model_id: str, home: Path, report: Reporter) -> dict[str, Any]:
    """Run what is missing; returns figures: `rows`, and the value of every benchmark. Raises UserError, OSError."""
    study = study_of(path, home)
    if study.benchmarks is None or not study.benchmarks.to_run:
        raise UserError(f"{path}: the study {study.study_id} runs no benchmarks; list tasks under `benchmarks`")
    model = model_of(study, path, model_id, home)
    run_id = benchmark_run_id(model, study.benchmarks, path.parent)
    parts = parts_of(home)
    part = part_path(parts, BENCHMARK_RESULTS.name, study.study_id, run_id)
    if part.exists():
        rows = part_rows(part)
        report.say(f"{model_id}: the results are there; nothing to do")
    else:
        with beside_others(home, lambda text: report.say(f"{model_id}: {text}")):
            rows, costs = _measured(model, study.benchmarks, path, home, report)
        write_part(parts, RUN_COSTS, [costs], study_id=study.study_id, run_id=run_id)
    # Settings that were tried in between may have left a later part: the newest one counts.
    write_part(parts, BENCHMARK_RESULTS, rows, study_id=study.study_id, run_id=run_id)
    return {"rows": len(rows)} | {f"{row['benchmark']}, {row['metric']}": round(row["value"], 2) for row in rows}


def _measured(
    model: StudyModel, benchmarks: Benchmarks, path: Path, home: Path, report: Reporter
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of benchmark_results, and the row of run_costs."""
    source = model_source(model, path.parent)
    device = default_device()
    what = ", ".join(task.name for task in benchmarks.to_run)
    report.say(f"{source.name}: {what} through lm_eval, {benchmarks.precision} on {device}")

    @cache
    def loaded() -> CountedModel:
        weights, tokenizer = load(source, getattr(torch, benchmarks.precision), device)
        requests = partial(progress, report, f"{source.name}: requests")
        return CountedModel(weights, tokenizer, benchmarks.batch_size, requests)

    def kept(tasks: Sequence[Benchmark]) -> Path:
        return home / "benchmarks" / f"{task_results_id(model, benchmarks, tasks, path.parent)}.json"

    data_sets = home / "cache" / "datasets"
    results, costs = run_benchmarks(loaded, source, benchmarks.to_run, path.parent, data_sets, kept)
    return [result.row(run_of(model.model_id)) for result in results], costs.row(model.model_id, JOB, VARIANT)


main = partial(run_job, "run_benchmarks")

if __name__ == "__main__":
    main()

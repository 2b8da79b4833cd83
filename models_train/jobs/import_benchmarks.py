"""Import the benchmark result files that a study lists (lm_eval, EvalPlus), and write their part."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from models_train.benchmarks.imports import import_results, nothing_found
from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.parts import write_part
from models_train.store import parts_of
from models_train.study.fingerprints import import_run_id
from models_train.study.study import load_study
from warehouse.contracts.studies import BENCHMARK_RESULTS, IMPORTS


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Read all files of the study's imports and write one part; returns figures. Raises UserError, OSError.

    Reading takes seconds, so it is repeated each time; equal files give an equal part under the same name.
    """
    study = load_study(path, home)
    if study.benchmarks is None or not study.benchmarks.imports:
        raise UserError(f"{path}: the study {study.study_id} imports no results; list files under benchmarks.imports")
    run_id = import_run_id(study, path.parent)
    found = import_results(study, path.parent)
    for what, n in sorted(found.skipped.items()):
        if n:
            report.say(f"{study.study_id}: passed over {n:,} {what}")
    if not found.results:
        raise UserError(
            f"{path}: {found.n_files} files were read, and none of their results is of a task and a model of the "
            f"study; {nothing_found(study, found)}"
        )
    for (benchmark, reason), n in sorted(found.close.items()):
        report.say(f"{study.study_id}, {benchmark}: {n:,} values count as a close match: {reason}")
    values = {result.benchmark for result in found.results}
    for task in study.benchmarks.tasks:
        if not task.run and task.name not in values:
            report.say(f"{study.study_id}, {task.name}: no file has a value of the task {task.lm_eval_task}")
    rows = [result.row(IMPORTS) for result in found.results]
    write_part(parts_of(home), BENCHMARK_RESULTS, rows, study_id=study.study_id, run_id=run_id)
    return {
        "rows": len(rows),
        "files": found.n_files,
        "models": len({row["model_id"] for row in rows}),
        "benchmarks": len({row["benchmark"] for row in rows}),
    }


main = partial(run_job, "import_benchmarks")

if __name__ == "__main__":
    main()

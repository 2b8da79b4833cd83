"""Read the benchmark result files that a study imports (lm_eval, EvalPlus), and write their part."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models_train.benchmarks.imports import import_results
from models_train.benchmarks.results import BenchmarkError
from models_train.errors import UserError
from models_train.jobs.reporting import Reporter, reporter
from models_train.parts import write_part
from models_train.study.fingerprints import import_run_id
from models_train.study.study import load_study
from warehouse.contracts.studies import BENCHMARK_RESULTS, IMPORTS

EXPECTED = (BenchmarkError, UserError)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job for one study file."""
    options = _parser().parse_args(arguments)
    with reporter() as report:
        try:
            report.done(run(options.study, options.home, report))
        except EXPECTED as error:
            report.fail(str(error))


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Read all files of the study's imports and write one part; returns figures. Raises EXPECTED.

    Reading takes seconds, so it is done each time; equal files yield an equal part under the same name.
    """
    study = load_study(path, home)
    if study.benchmarks is None or not study.benchmarks.imports:
        raise BenchmarkError(
            f"{path}: the study {study.study_id} imports no results; list files under benchmarks.imports"
        )
    run_id = import_run_id(study, path.parent)
    found = import_results(study, path.parent)
    for what, n in sorted(found.skipped.items()):
        if n:
            report.say(f"{study.study_id}: passed over {n:,} {what}")
    if not found.results:
        raise BenchmarkError(
            f"{path}: {found.n_files} files were read, and nothing in them is of a task and a model of the study; mend "
            "benchmarks.tasks (the task names of lm_eval), or the models of the import"
        )
    rows = [result.row(IMPORTS) for result in found.results]
    write_part(home / "parts", BENCHMARK_RESULTS, rows, study_id=study.study_id, run_id=run_id)
    return {
        "rows": len(rows),
        "files": found.n_files,
        "models": len({row["model_id"] for row in rows}),
        "benchmarks": len({row["benchmark"] for row in rows}),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models_train.jobs.import_benchmarks", description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="study file with benchmarks.imports")
    parser.add_argument("--home", type=Path, required=True, help="run-time folder, for parts")
    return parser


if __name__ == "__main__":
    main()

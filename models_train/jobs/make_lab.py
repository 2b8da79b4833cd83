"""Make the lab of a study: its base models, its preferences, ratings and test set, its documents. All synthetic.

What is known of them (true mixes, true weights) becomes parts: the truth that estimates are held against.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import joblib

from models_train.config import load_study
from models_train.jobs.reporting import reporter
from models_train.lab.truth import truth_rows
from models_train.lab.world import Made, make_data, make_models
from models_train.lab_settings import lab_folder
from models_train.parts import write_part
from models_train.run_ids import lab_run_id
from models_train.study_yaml import StudyError
from warehouse.contracts import LAB_TABLES

MOST_WORKERS = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job."""
    options = _parser().parse_args(arguments)
    began = time.monotonic()
    with reporter() as report:
        try:
            study = load_study(options.study)
        except StudyError as error:
            report.fail(str(error))
            return
        if study.lab is None:
            report.fail(f"{options.study}: has no lab to make; add a group `lab`")
            return
        folder = lab_folder(options.home, study.study_id)
        folder.mkdir(parents=True, exist_ok=True)
        counts = make_data(folder, study.lab)
        report.say(", ".join(f"{count} rows in {name}" for name, count in counts.items()))

        def say(made: Made, left: int) -> None:
            report.say(f"{made.model_id} ({made.n_parameters / 1e6:.2f}M parameters) {made.how}; {left} models to come")

        models = make_models(folder, study, study.lab, options.workers, say)
        known = truth_rows(study, study.lab, {made.model_id: made.n_parameters for made in models})
        run_id = lab_run_id(study)
        for table, rows in known.items():
            write_part(options.home / "parts", LAB_TABLES[table], rows, study_id=study.study_id, run_id=run_id)
        new = sum(made.is_new for made in models)
        report.done(
            {
                "models": len(models),
                "new": new,
                "seconds": round(time.monotonic() - began, 1),
                "rows": sum(counts.values()),
                **counts,
            }
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models_train.jobs.make_lab", description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="study file with a group `lab`")
    parser.add_argument(
        "--home",
        type=Path,
        required=True,
        help="run-time folder: the lab comes into lab, its truth into parts",
    )
    parser.add_argument(
        "--workers", type=int, default=min(joblib.cpu_count(), MOST_WORKERS), help="processes (default: all cores)"
    )
    return parser


if __name__ == "__main__":
    main()

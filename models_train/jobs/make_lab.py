"""Make the lab of a study: its base models, its preferences, ratings and test set, its documents. All synthetic.

What is known of them (true mixes, true weights) becomes parts: the truth that estimates are held against.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib

from models_train.errors import UserError
from models_train.jobs.reporting import Reporter, reporter
from models_train.parts import write_part
from models_train.study.fingerprints import lab_run_id
from models_train.study.lab import lab_folder
from models_train.study.study import load_study
from models_train.synthetic.truth import truth_rows
from models_train.synthetic.world import Made, make_data, make_models
from warehouse.contracts import LAB_TABLES

MOST_WORKERS = 8


class NoLab(ValueError):
    """The study file has no lab. The message names the file."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job."""
    options = _parser().parse_args(arguments)
    with reporter() as report:
        try:
            report.done(make(options.study, options.home, options.workers, report))
        except (NoLab, UserError) as error:
            report.fail(str(error))
        except OSError as error:
            report.fail(f"the lab could not be written: {error}; check {options.home / 'lab'} and the disk")


def make(path: Path, home: Path, workers: int, report: Reporter) -> dict[str, Any]:
    """Make what is not there of the lab of a study file, and the parts of its truth; returns figures.

    Raises NoLab, UserError, and OSError where it cannot be written.
    """
    began = time.monotonic()
    study = load_study(path)
    if study.lab is None:
        raise NoLab(f"{path}: has no lab to make; add a group `lab`")
    folder = lab_folder(home, study.study_id)
    folder.mkdir(parents=True, exist_ok=True)
    counts = make_data(folder, study.lab)
    report.say(", ".join(f"{count} rows in {name}" for name, count in counts.items()))

    def say(made: Made, left: int) -> None:
        report.say(f"{made.model_id} ({made.n_parameters / 1e6:.2f}M parameters) {made.how}; {left} models to come")

    models = make_models(folder, study, study.lab, workers, say)
    known = truth_rows(study, study.lab, {made.model_id: made.n_parameters for made in models})
    for table, rows in known.items():
        write_part(home / "parts", LAB_TABLES[table], rows, study_id=study.study_id, run_id=lab_run_id(study))
    return {
        "models": len(models),
        "new": sum(made.is_new for made in models),
        "seconds": round(time.monotonic() - began, 1),
        "rows": sum(counts.values()),
        **counts,
    }


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

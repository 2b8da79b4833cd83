"""Make the synthetic lab of a study: base models, preferences, ratings, test set, documents.

The known truth (mixes, weights) becomes parts, which estimates are compared with.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.parts import write_part
from models_train.store import parts_of
from models_train.study.fingerprints import lab_run_id
from models_train.study.lab import lab_folder
from models_train.study.lab_record import contents_of, read_record, write_record
from models_train.study.study import load_study
from models_train.synthetic.world import Made, make_data, make_models, truth_rows
from warehouse.contracts import LAB_TABLES


def run(path: Path, home: Path, workers: int, report: Reporter) -> dict[str, Any]:
    """Make what is missing of the lab of a study file, and the parts of its truth; returns figures.

    Raises UserError.
    """
    try:
        return _make(path, home, workers, report)
    except OSError as error:
        raise UserError(f"the lab could not be written: {error}; check {home / 'lab'} and the disk") from error


def _make(path: Path, home: Path, workers: int, report: Reporter) -> dict[str, Any]:
    began = time.monotonic()
    study = load_study(path)
    if study.lab is None:
        raise UserError(f"{path}: has no lab to make; add a group `lab`")
    folder = lab_folder(home, study.study_id)
    folder.mkdir(parents=True, exist_ok=True)
    _, contents = read_record(folder)
    write_record(folder, None, contents)
    counts = make_data(folder, study.lab)
    report.say(", ".join(f"{count} rows in {name}" for name, count in counts.items()))

    def say(made: Made, left: int) -> None:
        report.say(f"{made.model_id} ({made.n_parameters / 1e6:.2f}M parameters) {made.how}; {left} models to come")

    models = make_models(folder, study, study.lab, workers, say, contents)
    known = truth_rows(study, study.lab, {made.model_id: made.n_parameters for made in models})
    for table, rows in known.items():
        write_part(parts_of(home), LAB_TABLES[table], rows, study_id=study.study_id, run_id=lab_run_id(study))
    write_record(folder, lab_run_id(study), contents_of(folder, study.lab))
    return {
        "models": len(models),
        "new": sum(made.is_new for made in models),
        "seconds": round(time.monotonic() - began, 1),
        "rows": sum(counts.values()),
        **counts,
    }


main = partial(run_job, "make_lab")

if __name__ == "__main__":
    main()

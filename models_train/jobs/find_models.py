"""Ask the hub for the models that a study's group `hub` means, and keep the answer in `<home>/hub_models/`.

Where the hub cannot be asked, the answer of the last time stays.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models_train.errors import UserError
from models_train.jobs.reporting import Reporter, reporter
from models_train.study.hub import keep_found, search
from models_train.study.study import Study, load_study


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job for one study file."""
    options = _parser().parse_args(arguments)
    with reporter() as report:
        try:
            report.done(find(options.study, options.home, report))
        except (OSError, UserError) as error:
            report.fail(str(error))


def find(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Ask, and keep the answer; returns figures: `rows` are the models. Raises UserError."""
    study = load_study(path, home)
    if study.hub is None:
        raise UserError(f"{path}: the study {study.study_id} asks no hub; add a group `hub` to it")
    before = _revisions(study)
    models, left_out = search(study.hub)
    keep_found(home, study.study_id, study.hub, models)
    after_study = load_study(path, home)
    after = _revisions(after_study)
    for reason, n in left_out.most_common():
        report.say(f"{study.study_id}: {n:,} left out: {reason}")
    for hub_id in sorted(before.keys() | after.keys()):
        if before.get(hub_id) != after.get(hub_id):
            what = "new" if hub_id not in before else "gone" if hub_id not in after else "a new revision"
            report.say(f"{study.study_id}: {hub_id}: {what}")
    unused = len(models) - sum(model["hub_id"] in after for model in models)
    if unused:
        report.say(f"{study.study_id}: {unused:,} not taken: outside every size group, or a value is impossible")
    return {"rows": len(models), "left out": sum(left_out.values()), "not taken": unused}


def _revisions(study: Study) -> dict[str, str | None]:
    return {model.hub_id: model.revision for model in study.models}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models_train.jobs.find_models", description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="study file")
    parser.add_argument("--home", type=Path, required=True, help="run-time folder, where the answer is kept")
    return parser


if __name__ == "__main__":
    main()

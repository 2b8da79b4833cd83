"""Search the hub for the models that a study's group `hub` describes, and keep the answer in `<home>/hub_models/`.

Where the hub does not answer, the previous answer stays.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.study.hub import keep_found, search
from models_train.study.study import Study, load_study


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Search, and keep the answer; returns figures: `rows` are the models. Raises UserError, OSError."""
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


main = partial(run_job, "find_models")

if __name__ == "__main__":
    main()

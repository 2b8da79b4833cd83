"""Stored labels of preferences, for what is made of them: the estimates that cleaning rules need."""

from __future__ import annotations

from models_train.data.preference_variants import Estimate, Estimates
from models_train.errors import UserError
from models_train.jobs.training_job import TrainingJob
from models_train.parts import part_path, part_rows
from models_train.store import parts_of
from models_train.teachers.label_noise import fit_noise
from warehouse.contracts.preferences import PREFERENCE_LABELS


def estimates_of(job: TrainingJob) -> Estimates:
    """The estimates that `clean_preferences` stored for the study of a job."""

    def estimate(data_id: str | None) -> Estimate:
        run_id = job.labels_run_id(data_id)
        part = part_path(parts_of(job.home), PREFERENCE_LABELS.name, job.study.study_id, run_id)
        if not part.exists():
            name = data_id or "the preferences"
            raise UserError(f"{job.path}: the noise of {name} is not estimated yet; run `make run`")
        judged = [row for row in part_rows(part) if row["cross_fitted_margin"] is not None]
        fit = fit_noise([row["cross_fitted_margin"] for row in judged if row["split"] == "train"])
        return Estimate({row["pair_id"]: row["p_label"] for row in judged}, float(fit.noise[0]))

    return estimate

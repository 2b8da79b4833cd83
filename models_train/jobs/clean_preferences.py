"""List the training and validation pairs of preferences, or of a variant of them, with their labels; and judge each
label by reward models that were trained on the other folds, where the study estimates the noise.

The reward models of the folds are trained as the search trained its choice: base model, rate and recipe, to the end.
They are in `<home>/training/<run_id>/` while the job is at work, which resumes from there.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models_train.data.helpsteer import load_preferences
from models_train.data.preference_variants import Estimate, LabelledPair, folds_of, labelled_pairs, pair_id
from models_train.data.records import Loaded, Preference
from models_train.data.sources import data_of
from models_train.errors import UserError, close_match
from models_train.jobs.command_line import run_job
from models_train.jobs.preference_estimates import estimates_of
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import TrainingJob, beside_others, locked, study_of, training_job
from models_train.parts import part_path, part_rows, renew_run, write_part
from models_train.reward_models.cross_fitting import cross_fit
from models_train.reward_models.distributed import Processes, joined
from models_train.reward_models.search import set_up
from models_train.store import parts_of
from models_train.study.fingerprints import labels_run_id, source_name, training_run_id
from models_train.study.reward_ids import variant_named
from models_train.study.study import Study, load_study
from models_train.study.training import Training, reference_data_id
from models_train.synthetic.preferences import true_utilities
from models_train.teachers.label_noise import fit_noise
from warehouse.contracts import REWARD_MODEL_TABLES
from warehouse.contracts.preferences import PREFERENCE_LABELS

JOB = "clean_preferences"
COSTS = "run_costs"
BEGINNING = 240
"""Most characters that are kept of a prompt or response."""


def run(path: Path, data_id: str, home: Path, report: Reporter) -> dict[str, Any]:
    """Write the labels of the preferences (by the name of their data set or file), or of a variant; returns figures.

    Raises UserError, OSError.
    """
    study = study_of(path, home)
    if study.training is None:
        raise UserError(f"{path}: the study {study.study_id} has no preferences; add a group `training` to it")
    variant = _variant_named(study.training, data_id, path)
    preferences = data_of(study.training.preferences, path, home)
    training = study.training.model_copy(update={"preferences": preferences})
    with joined() as processes:
        return _Labels(path, home, study, training, variant, data_id, report, processes).write()


def _variant_named(training: Training, data_id: str, path: Path) -> str | None:
    """The variant of a name, None for the preferences themselves. Raises UserError for other names."""
    reference = reference_data_id(training)
    known = [reference, *(one.data_id for one in training.variants)]
    if data_id not in known:
        raise UserError(f"{path}: there are no data {data_id!r}; {close_match(data_id, known, 'there are')}")
    return variant_named(training, data_id)


@dataclass(frozen=True)
class Judged:
    """Cross-fitted margins and folds by pair_id, and the row of what they cost."""

    margins: Mapping[str, float]
    folds: Mapping[str, int]
    costs: dict[str, Any]


@dataclass(frozen=True)
class _Labels:
    """The labels of one variant, or of the preferences themselves (None)."""

    path: Path
    home: Path
    study: Study
    training: Training
    variant: str | None
    data_id: str
    report: Reporter
    processes: Processes

    def write(self) -> dict[str, Any]:
        """Write the part, unless it is there."""
        job = self._trained_job()
        study = load_study(self.path, self.home)
        run_id = labels_run_id(self.variant, study, self.training, self.path.parent)
        part = part_path(parts_of(self.home), PREFERENCE_LABELS.name, study.study_id, run_id)
        is_there = part.exists()
        self.processes.wait()
        if is_there:
            self.report.say(f"{self.data_id}: the labels are there; nothing to do")
            for table in (PREFERENCE_LABELS.name, COSTS):
                renew_run(parts_of(self.home), table, study.study_id, run_id)
            return _figures(part_rows(part))
        loaded = load_preferences(self.training.preferences, self.path.parent)
        estimates = estimates_of(job) if job is not None else _no_estimates
        pairs = labelled_pairs(self.training, self.variant, self.path.parent, estimates, loaded)
        pairs += [LabelledPair(pair, pair_id(pair)) for pair in loaded.validation]
        judged = None
        if job is not None and self._is_estimated:
            judged = self._judge(replace(job, run_id=run_id), pairs)
        rows = self._rows(pairs, loaded, judged)
        if self.processes.is_first:
            if judged is not None:
                costs = [judged.costs]
                write_part(
                    parts_of(self.home), REWARD_MODEL_TABLES[COSTS], costs, study_id=study.study_id, run_id=run_id
                )
            write_part(parts_of(self.home), PREFERENCE_LABELS, rows, study_id=study.study_id, run_id=run_id)
            shutil.rmtree(self.home / "training" / run_id, ignore_errors=True)
        return _figures(rows)

    @property
    def _is_estimated(self) -> bool:
        return self.variant is None or self.training.variant_of(self.variant).rule is None

    def _trained_job(self) -> TrainingJob | None:
        noise = self.training.noise
        return None if noise is None else training_job(self.path, noise.model_id, "bradley_terry", self.home)

    def _judge(self, job: TrainingJob, pairs: Sequence[LabelledPair]) -> Judged:
        """Cross-fitted margins. job: of the base model; its run id is the labels'. Raises UserError."""
        noise = self.training.noise
        assert noise is not None
        searched = training_run_id(job.model, job.training, "bradley_terry", job.study_folder)
        rate = _rate_of(replace(job, run_id=searched))
        training = job.training.at_rate("bradley_terry", rate, noise.seeds[0])
        kept = [one for one in pairs if one.is_kept and one.pair.split == "train"]
        others = [one for one in pairs if one.pair.split == "validation"]

        def change(_: Loaded[Preference]) -> list[Preference]:
            return [one.pair for one in kept]

        def say(text: str) -> None:
            self.report.say(f"{self.data_id}: {text}")

        with ExitStack() as held:
            if self.processes.is_first:
                other = f"{self.data_id}: another process estimates the noise of these data"
                held.enter_context(locked(job.working_folder, other))
            say(f"reading data and base model {job.model.model_id}")
            setup = set_up(job.model, training, "bradley_terry", job.study_folder, self.processes, change=change)
            held.enter_context(beside_others(job.home, say, setup.alone))
            rendered = [kept[place] for place in setup.data.train.places]
            validating = [others[place] for place in setup.data.validation.places]
            folds, validation_folds = (
                np.array(folds_of([one.pair.prompt for one in side], noise.folds), np.int64)
                for side in (rendered, validating)
            )
            n_runs = noise.folds * len(noise.seeds)
            with progress(self.report, f"{self.data_id}: reward models of folds", n_runs, 0) as counter:

                def advance(seed: int, fold: int) -> None:
                    counter.advance(1, 0, f"seed {seed}, fold {fold + 1} of {noise.folds}")

                found = cross_fit(setup, folds, validation_folds, noise.seeds, job.working_folder, advance)
        names = [one.pair_id for one in (*rendered, *validating)]
        margins = np.concatenate([found.train, found.validation]).tolist()
        return Judged(
            dict(zip(names, margins, strict=True)),
            dict(zip(names, [*folds.tolist(), *validation_folds.tolist()], strict=True)),
            found.costs.row(job.model.model_id, JOB, self.data_id),
        )

    def _rows(
        self, pairs: Sequence[LabelledPair], loaded: Loaded[Preference], judged: Judged | None
    ) -> list[dict[str, Any]]:
        margins = judged.margins if judged else {}
        validating = {pair_id(pair) for pair in loaded.validation}
        trained = [margins[one.pair_id] for one in pairs if one.pair_id in margins and one.pair_id not in validating]
        p_labels: dict[str, float] = {}
        if trained:
            fit = fit_noise(trained)
            p_labels = dict(zip(margins, fit.p_labels(list(margins.values())).tolist(), strict=True))
        truth, source = _truth(self.study), source_name(self.training.preferences, self.path.parent)
        return [
            {
                "data_id": self.data_id,
                "pair_id": one.pair_id,
                "prompt_id": one.pair.prompt_id,
                "split": one.pair.split,
                "label_kind": one.label_kind,
                "fold": judged.folds.get(one.pair_id) if judged else None,
                "cross_fitted_margin": margins.get(one.pair_id),
                "p_label": p_labels.get(one.pair_id),
                "is_kept": one.is_kept,
                "is_label_right": _is_right(one.pair, truth),
                "prompt": one.pair.prompt[-1].text[:BEGINNING],
                "chosen": one.pair.chosen[:BEGINNING],
                "rejected": one.pair.rejected[:BEGINNING],
                "source": source,
            }
            for one in pairs
        ]


def _no_estimates(data_id: str | None) -> Estimate:
    raise UserError(f"no noise is estimated of {data_id or 'the preferences'}; add the group training.noise")


def _rate_of(job: TrainingJob) -> float:
    """The rate that the search of a base model chose. Raises UserError."""
    part = job.part("reward_model_searches")
    found = part_rows(part)[0]["learning_rate"] if part.exists() else None
    if found is None:
        raise UserError(
            f"{job.path}: the noise is estimated at the rate that the search of {job.model.model_id} chose, which is "
            "not there; train it first (`make run`)"
        )
    return float(found)


def _truth(study: Study) -> dict[tuple[str, str], float]:
    """True utilities by prompt and response, in a lab."""
    lab = study.lab
    if lab is None:
        return {}
    return true_utilities(lab.preferences, lab.seed, "train") | true_utilities(lab.validation, lab.seed, "validation")


def _is_right(pair: Preference, truth: Mapping[tuple[str, str], float]) -> bool | None:
    """Whether the chosen response is truly better; None where that is not known, or both are equal."""
    prompt = pair.prompt[-1].text
    chosen, rejected = truth.get((prompt, pair.chosen)), truth.get((prompt, pair.rejected))
    if chosen is None or rejected is None or math.isclose(chosen, rejected, abs_tol=1e-9):
        return None
    return chosen > rejected


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    train = [row for row in rows if row["split"] == "train"]
    margins = [row["cross_fitted_margin"] for row in train if row["cross_fitted_margin"] is not None]
    found: dict[str, Any] = {"rows": len(rows), "training pairs": len(train)}
    found["of them kept"] = sum(row["is_kept"] for row in train)
    if margins:
        found["noise"] = round(float(fit_noise(margins).noise[0]), 4)
        found["share lost by reward models of other folds"] = round(sum(one < 0 for one in margins) / len(margins), 4)
    return found


main = partial(run_job, JOB)

if __name__ == "__main__":
    main()

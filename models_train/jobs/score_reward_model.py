"""Compute the reward of every completion of the study's benchmarks, and of every response of its policies, with a
reward model of a hub or folder, and write its parts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from models_train.data.chat import Renderer
from models_train.errors import UserError, close_match
from models_train.jobs.benchmark_scoring import BenchmarkScoring, Scored
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.jobs.response_scoring import ResponseScoring
from models_train.jobs.training_job import at_commit, study_of
from models_train.metering import default_device
from models_train.reward_benchmarks.sets import at_commits
from models_train.reward_models.existing import ExistingRewardModel, load_existing
from models_train.study.fingerprints import evaluation_run_ids, scored_run_id
from models_train.study.reward_benchmarks import ScoredRewardModel
from models_train.study.study import Study

JOB = "score_reward_model"


def run(path: Path, reward_id: str, home: Path, report: Reporter) -> dict[str, Any]:
    """Score each benchmark where its parts are missing; returns figures: `rows`, and completions by status.

    Raises UserError, OSError.
    """
    study = study_of(path, home)
    one = at_commit(_named(study, path, reward_id), reward_id, path, home)
    study = at_commits(study, path, home)
    scoring = BenchmarkScoring(study, path, home, report)
    responses = ResponseScoring(study, path, home, report, scoring.problems)
    run_id = scored_run_id(one, path.parent)
    run_ids = evaluation_run_ids(run_id, study, path.parent)
    load = partial(_loaded, one, path.parent)
    scored = Scored(reward_id, reward_id, run_id, run_ids, load, lambda name: (reward_id, JOB, name))
    scoring.score(scored)
    responses.score(scored)
    return scoring.figures() | responses.figures()


def _named(study: Study, path: Path, reward_id: str) -> ScoredRewardModel:
    found = {one.reward_id: one for one in study.reward_models}
    if reward_id not in found:
        hint = close_match(reward_id, found, "listed are") if found else "list it there"
        raise UserError(f"{path}: the study has no {reward_id!r} under reward_models; {hint}")
    return found[reward_id]


def _loaded(one: ScoredRewardModel, study_folder: Path) -> tuple[ExistingRewardModel, Renderer]:
    reward_model, renderer = load_existing(one, study_folder)
    return reward_model.to(default_device()), renderer


main = partial(run_job, JOB)

if __name__ == "__main__":
    main()

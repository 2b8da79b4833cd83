"""Compute the reward of every completion of the study's benchmarks, and of every response of its policies, with a
trained reward model, and write its parts.

The benchmarks are the test set and the benchmark sets. The reward model is that of `train_reward_model`, at
`<home>/reward_models/<training_run_id>/`; those of further seeds follow.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_train.data.chat import Renderer
from models_train.errors import UserError
from models_train.jobs.benchmark_scoring import BenchmarkScoring, Scored
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.jobs.response_scoring import ResponseScoring
from models_train.jobs.training_job import TrainingJob, training_job
from models_train.metering import default_device
from models_train.modeling.base_models import ModelSource, context_length, load_tokenizer
from models_train.reward_benchmarks.sets import at_commits
from models_train.reward_models.model import RewardModel
from models_train.study.fingerprints import evaluation_run_ids
from models_train.study.reward_ids import scoring_variant, trained_reward_id
from models_train.study.settings import Objective

JOB = "score_completions"


def run(path: Path, model_id: str, objective: Objective, home: Path, report: Reporter) -> dict[str, Any]:
    """Score each benchmark where its parts are missing; returns figures: `rows`, and completions by status.

    Raises UserError, OSError.
    """
    job = training_job(path, model_id, objective, home)
    study = at_commits(job.study, path, home)
    job = replace(job, study=study)
    scoring = BenchmarkScoring(study, path, home, report)
    responses = ResponseScoring(study, path, home, report, scoring.problems)
    for one in (job, *(job.of_seed(seed) for seed in job.training.further_seeds(model_id))):
        scored = _scored(one)
        scoring.score(scored)
        responses.score(scored)
    return scoring.figures() | responses.figures()


def _scored(job: TrainingJob) -> Scored:
    def costs(benchmark: str) -> tuple[str, str, str]:
        return job.model.model_id, JOB, scoring_variant(benchmark, job.objective, job.seed)

    return Scored(
        job.name,
        trained_reward_id(job.model.model_id, job.objective, job.seed),
        job.run_id,
        evaluation_run_ids(job.run_id, job.study, job.study_folder),
        partial(load_trained, job),
        costs,
        job.training.tokens_per_pack,
        job.training.thoughts,
    )


def load_trained(job: TrainingJob) -> tuple[RewardModel, Renderer]:
    """The saved reward model on its device, and the renderer of its training."""
    folder, code = job.reward_model, job.model.remote_code
    if not folder.is_dir():
        options = {"study": job.path, "model": job.model.model_id, "objective": job.objective, "home": job.home}
        command = shlex.join([text for name, value in options.items() for text in (f"--{name}", str(value))])
        raise UserError(
            f"{job.name}: this reward model is not trained yet with these settings and data (there is no {folder}); "
            f"train it first: python -m models_train.jobs.train_reward_model {command}"
        )
    reward_model = RewardModel.load(folder, getattr(torch, job.training.precision), remote_code=code)
    if job.objective == "regression" and reward_model.merge_weights is None:
        raise UserError(f"{folder}: config.json has no merge_weights; remove the folder and train the model again")
    tokenizer = load_tokenizer(ModelSource(job.model.model_id, str(folder), remote_code=code))
    recipe, context = job.training.recipe(job.objective), context_length(reward_model.config)
    renderer = Renderer(tokenizer, recipe.max_tokens, recipe.over_long, context, job.training.thoughts)
    return reward_model.to(default_device()), renderer


main = partial(run_job, JOB)

if __name__ == "__main__":
    main()

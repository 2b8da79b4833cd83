"""Compute the reward of every completion of the study's benchmarks, and of every response of its policies, with a
trained reward model, and write its parts.

The benchmarks are the test set and the benchmark sets. The reward model is that of `train_reward_model`, at
`<home>/reward_models/<training_run_id>/`; those of further seeds and of variants of the preferences follow.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_train.data.chat import Renderer
from models_train.data.critiques import by_response, critique_of, load_critiques
from models_train.errors import UserError
from models_train.jobs.benchmark_scoring import COSTS, BenchmarkScoring, Rows, Scored
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.jobs.response_scoring import ResponseScoring
from models_train.jobs.training_job import TrainingJob, training_job
from models_train.metering import default_device, measure
from models_train.modeling.base_models import ModelSource, context_length, load_tokenizer
from models_train.parts import part_path, part_rows, renew_run, write_part
from models_train.reward_benchmarks.items import Item
from models_train.reward_benchmarks.sets import at_commits
from models_train.reward_models.critique_model import Critic, CritiqueModel
from models_train.reward_models.critique_scoring import critiqued_items, others, written_status
from models_train.reward_models.critiques import Written
from models_train.reward_models.model import RewardModel
from models_train.reward_models.scoring import OK
from models_train.store import parts_of
from models_train.study.fingerprints import evaluation_run_ids, scored_as
from models_train.study.reward_ids import scoring_variant, trained_reward_id
from models_train.study.settings import Objective
from warehouse.contracts import TABLES
from warehouse.contracts.critiques import CRITIQUES

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
    further = (job.of_further(one) for one in job.training.further(model_id, objective))
    for one in (job, *(one for one in further if not one.waits)):
        scored = _scored(one)
        scoring.score(scored)
        responses.score(scored)
    if objective == "critique":
        for control in job.training.critique_recipe.controls:
            score_control(job.of_control(control), scoring)
    return scoring.figures() | responses.figures()


def _scored(job: TrainingJob) -> Scored:
    def costs(benchmark: str) -> tuple[str, str, str]:
        return job.model.model_id, JOB, scoring_variant(benchmark, job.objective, job.further)

    named = scored_as(job.training, job.objective, job.run_id)
    return Scored(
        job.name,
        trained_reward_id(job.model.model_id, job.objective, job.further),
        named,
        evaluation_run_ids(named, job.study, job.study_folder),
        partial(load_trained, job),
        costs,
        job.training.tokens_per_pack,
        job.training.thoughts,
    )


def score_control(job: TrainingJob, scoring: BenchmarkScoring) -> None:
    """Write the rewards of a reward model that a critique reward model is compared with, where they are missing: with
    critiques of other completions, or with true ones.

    A benchmark that cannot be scored stops no other.
    """
    assert job.control is not None and job.parent_id is not None, "it is one of them"
    own = evaluation_run_ids(scored_as(job.training, job.objective, job.parent_id), job.study, job.study_folder)
    named = scored_as(job.training, job.objective, job.run_id)
    loaded: list[tuple[RewardModel, Renderer]] = []
    for benchmark, run_id in evaluation_run_ids(named, job.study, job.study_folder).items():
        tables = (CRITIQUES.name, COSTS)
        parts, study_id = parts_of(job.home), job.study.study_id
        if all(part_path(parts, table, study_id, run_id).exists() for table in tables):
            for table in tables:
                renew_run(parts, table, study_id, run_id)
            continue
        written = part_path(parts, CRITIQUES.name, study_id, own[benchmark])
        if not written.exists():
            continue  # its problem is known
        loaded = loaded or [load_trained(job)]
        try:
            items = list(scoring.benchmark(benchmark).items.values())
            rows, costs = _with_critiques(job, benchmark, items, part_rows(written), *loaded[0])
        except UserError as error:
            scoring.problems.append(error)
            continue
        for table, found in zip(tables, (rows, [costs]), strict=True):
            write_part(parts, TABLES[table], found, study_id=study_id, run_id=run_id)
        scoring.report.say(f"{job.name}: {benchmark}: {len(rows):,} critiques")


def _with_critiques(
    job: TrainingJob, benchmark: str, items: Sequence[Item], own: Rows, reward_model: RewardModel, renderer: Renderer
) -> tuple[Rows, dict[str, Any]]:
    """Rows of critiques of a control, and of run_costs. own: rows of the reward model that it is compared with.

    Raises UserError where no critique could be read.
    """
    assert isinstance(reward_model, CritiqueModel), "it was trained as one"
    places = [(item, completion) for item in items for completion in item.completions]
    if job.control == "others":
        by_completion: dict[tuple[str, str, str], list[Written]] = {}
        for row in sorted(own, key=lambda row: row["critique_no"]):
            written = Written(row["text"], row["n_tokens"], row["finish_reason"], written_status(row))
            by_completion.setdefault((row["subset"], row["item_id"], row["completion"]), []).append(written)
        critiques = others(items, [by_completion[(*item.key, one.name)] for item, one in places])
    else:
        source = job.training.critique_recipe.true_critiques
        assert source is not None, "the control is listed with it only"
        known = by_response(load_critiques(source, job.study_folder))
        critiques = [
            [Written.given(None if item.prompt is None else critique_of(known, item.prompt, one.text or ""))]
            for item, one in places
        ]
    with measure(default_device()) as meter:
        _, rows = critiqued_items(
            reward_model, renderer, items, critiques, job.training.tokens_per_pack, lambda _, n: meter.add_tokens(n)
        )
    if all(row["status"] != OK for row in rows):
        raise UserError(
            f"{job.name}: none of {len(rows)} critiques of {benchmark} could be read, so nothing was written; the "
            f"first has the status: {rows[0]['status']}"
        )
    key = {"reward_id": trained_reward_id(job.model.model_id, job.objective), "critiques": job.control}
    name = scoring_variant(benchmark, f"{job.objective}/{job.control}")
    return [key | row for row in rows], meter.costs.row(job.model.model_id, JOB, name)


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
    dtype = getattr(torch, job.training.precision)
    kind = CritiqueModel if job.objective == "critique" else RewardModel
    reward_model = kind.load(folder, dtype, remote_code=code)
    if job.objective == "regression" and reward_model.merge_weights is None:
        raise UserError(f"{folder}: config.json has no merge_weights; remove the folder and train the model again")
    source = ModelSource(job.model.model_id, str(folder), remote_code=code)
    tokenizer = load_tokenizer(source)
    if isinstance(reward_model, CritiqueModel):
        name = trained_reward_id(job.model.model_id, job.objective)
        reward_model.critic = Critic(source, job.training.critique_recipe, job.training.precision, name)
    recipe, context = job.training.recipe(job.objective), context_length(reward_model.config)
    renderer = Renderer(tokenizer, recipe.max_tokens, recipe.over_long, context, job.training.thoughts)
    return reward_model.to(default_device()), renderer


main = partial(run_job, JOB)

if __name__ == "__main__":
    main()

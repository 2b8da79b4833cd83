"""Compute the reward of every completion of the test set with a trained reward model, and write its parts.

The reward model is that of `train_reward_model`, at `<home>/reward_models/<training_run_id>/`. Where the parts are
there, nothing is done. An item that cannot be scored has rows with a status (definitions, Section 1). The items of the
test set are written by the first reward model of a study that is scored on it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_train.data.chat import Renderer, has_thoughts
from models_train.data.records import TestPair
from models_train.data.rewardbench import load_test_pairs
from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import TrainingJob, beside_others, data_of, training_job
from models_train.metering import default_device, measure
from models_train.modeling.base_models import ModelSource, context_length, load_tokenizer
from models_train.parts import part_path, part_rows, renew_run, write_part
from models_train.reward_benchmarks.items import item_tables, of_test_set
from models_train.reward_models.model import RewardModel
from models_train.reward_models.scoring import OK, score_pairs
from models_train.study.fingerprints import evaluation_run_id, items_run_id, source_name
from models_train.study.reward_ids import trained_reward_id, variant
from models_train.study.settings import Objective
from warehouse.contracts import TABLES

JOB = "score_completions"
REWARDS, COSTS = "completion_rewards", "run_costs"
ITEMS, COMPLETIONS = "benchmark_items", "item_completions"


def run(path: Path, model_id: str, objective: Objective, home: Path, report: Reporter) -> dict[str, Any]:
    """Score the test set where its parts are missing; returns figures: `rows`, and completions by status.

    Raises UserError, OSError.
    """
    job = training_job(path, model_id, objective, home)
    test_set = data_of(job.training.test_set, path, home)
    job = replace(job, training=job.training.model_copy(update={"test_set": test_set}))
    jobs = [job, *(job.of_seed(seed) for seed in job.training.further_seeds(model_id))]
    return _figures([row for one in jobs for row in _rewards(one, report)])


def _rewards(job: TrainingJob, report: Reporter) -> list[dict[str, Any]]:
    """Rows of completion_rewards, written where they were missing."""
    run_id = evaluation_run_id(job.model, job.training, job.objective, job.study_folder, job.seed)
    parts = {name: part_path(job.home / "parts", name, job.study.study_id, run_id) for name in (REWARDS, COSTS)}
    if all(part.exists() for part in parts.values()):
        report.say(f"{job.name}: the rewards are there; nothing to do")
        _keep_items(job)
        for name in parts:
            renew_run(job.home / "parts", name, job.study.study_id, run_id)
        return part_rows(parts[REWARDS])
    if not job.reward_model.is_dir():
        options = {"study": job.path, "model": job.model.model_id, "objective": job.objective, "home": job.home}
        command = shlex.join([text for name, value in options.items() for text in (f"--{name}", str(value))])
        raise UserError(
            f"{job.name}: this reward model is not trained yet with these settings and data (there is no "
            f"{job.reward_model}); train it first: python -m models_train.jobs.train_reward_model {command}"
        )
    pairs = load_test_pairs(job.training.test_set, job.study_folder)
    with beside_others(job.home, lambda text: report.say(f"{job.name}: {text}")):
        rows, costs = _scored(job, pairs, report)
    _keep_items(job, pairs)
    for name, found in ((REWARDS, rows), (COSTS, [costs])):
        write_part(job.home / "parts", TABLES[name], found, study_id=job.study.study_id, run_id=run_id)
    return rows


def _keep_items(job: TrainingJob, pairs: Sequence[TestPair] | None = None) -> None:
    """Write the items of the test set, unless another reward model of the study did. pairs: where they are read."""
    parts, study_id, run_id = job.home / "parts", job.study.study_id, items_run_id(job.training, job.study_folder)
    if all(part_path(parts, name, study_id, run_id).exists() for name in (ITEMS, COMPLETIONS)):
        for name in (ITEMS, COMPLETIONS):
            renew_run(parts, name, study_id, run_id)
        return
    test_set = job.training.test_set
    pairs = pairs or load_test_pairs(test_set, job.study_folder)
    tables = item_tables(of_test_set(pairs, source_name(test_set, job.study_folder)))
    for name, found in zip((ITEMS, COMPLETIONS), tables, strict=True):
        write_part(parts, TABLES[name], found, study_id=study_id, run_id=run_id)


def _scored(
    job: TrainingJob, pairs: Sequence[TestPair], report: Reporter
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of completion_rewards, and the row of run_costs."""
    report.say(f"{job.name}: {len(pairs):,} test pairs{_thoughts(pairs, job.training.thoughts)}")
    device = default_device()
    reward_model, renderer = _loaded(job)
    reward_model.to(device)
    what = f"{job.name}: completions scored"
    with measure(device) as meter, progress(report, what, 2 * len(pairs)) as counter:

        def advance(n_sequences: int, n_tokens: int) -> None:
            meter.add_tokens(n_tokens)
            counter.advance(n_sequences, n_tokens)

        weights, at_once = reward_model.merge_weights, job.training.tokens_per_pack
        found = score_pairs(reward_model, renderer, pairs, weights, at_once, advance)
    rows = [{"reward_id": trained_reward_id(job.model.model_id, job.objective, job.seed), **row} for row in found]
    if all(row["status"] != OK for row in rows):
        raise UserError(
            f"{job.name}: none of {2 * len(pairs)} completions could be scored, so nothing was written; the first has "
            f"the status: {rows[0]['status']}"
        )
    return rows, meter.costs.row(job.model.model_id, JOB, variant(job.objective, job.seed))


def _thoughts(pairs: Sequence[TestPair], setting: str) -> str:
    """How many completions have thoughts, and what becomes of them; empty where none has."""
    n = sum(has_thoughts(text) for pair in pairs for text in (pair.chosen, pair.rejected))
    return f"; {n:,} completions with thoughts, {'kept' if setting == 'keep' else 'cut'}" if n else ""


def _loaded(job: TrainingJob) -> tuple[RewardModel, Renderer]:
    """The saved reward model, and the renderer of its training."""
    folder, code = job.reward_model, job.model.remote_code
    reward_model = RewardModel.load(folder, getattr(torch, job.training.precision), remote_code=code)
    if job.objective == "regression" and reward_model.merge_weights is None:
        raise UserError(f"{folder}: config.json has no merge_weights; remove the folder and train the model again")
    tokenizer = load_tokenizer(ModelSource(job.model.model_id, str(folder), remote_code=code))
    recipe, context = job.training.recipe(job.objective), context_length(reward_model.config)
    return reward_model, Renderer(tokenizer, recipe.max_tokens, recipe.over_long, context, job.training.thoughts)


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows, and completions by status; the part of a status after the colon, on its one completion, is left out."""
    completions = {(row["reward_id"], row["subset"], row["item_id"], row["completion"]): row["status"] for row in rows}
    by_status = Counter(status.split(":")[0] for status in completions.values())
    figures = {"rows": len(rows), "completions": len(completions)}
    return figures | {f"completions, {status}": n for status, n in by_status.most_common()}


main = partial(run_job, "score_completions")

if __name__ == "__main__":
    main()

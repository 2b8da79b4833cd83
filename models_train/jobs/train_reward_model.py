"""Train the reward model of a base model by one objective: the search over learning rates, its parts, the model.

Training runs are in `<home>/training/<training_run_id>/` during the search: a killed job resumes from there. The reward
model is saved in `<home>/reward_models/<training_run_id>/`. Where parts and model are there,
nothing is done. Under torchrun the processes share one model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from models_train.data.records import ATTRIBUTES
from models_train.errors import UserError
from models_train.files import remove
from models_train.jobs.cluster import on_cluster, run_together
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import TrainingJob, beside_others, training_job
from models_train.machine import AUTO, RAY
from models_train.parts import part_rows, renew_run, write_part
from models_train.reward_models.distributed import Processes, joined
from models_train.reward_models.export import Card, save_reward_model
from models_train.reward_models.memory import OptimizerKind
from models_train.reward_models.search import SearchOutcome, SearchSetup, planned_steps, search, set_up
from models_train.reward_models.search_records import DROPPED, SearchRecord, search_card
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import Optimism, checkpoint_rewards, measure_optimism
from models_train.store import parts_of
from models_train.study.reward_ids import variant
from models_train.study.settings import Objective
from warehouse.contracts import REWARD_MODEL_TABLES

COSTS, SEARCHES = "run_costs", "reward_model_searches"
TABLES = ("reward_model_runs", "reward_model_steps", "reward_model_checkpoints", COSTS, SEARCHES)
"""Tables that a complete search has a part of; one of earlier versions has none of DROPPED."""


def run(
    path: Path, model_id: str, objective: Objective, home: Path, devices: int, report: Reporter
) -> Mapping[str, Any]:
    """Search, and write what is missing; returns figures. Raises UserError, OSError.

    devices: of the cluster that train together, at most; fewer where fewer are there. Where every training run failed,
    the parts are written and the reason is raised.
    """
    if devices < 1:
        raise UserError(f"--devices {devices} trains nothing; give 1 or more")
    here = partial(_run_here, path, model_id, objective, home)
    if on_cluster():
        return run_together(here, devices, home / "training", report.say)
    if devices != 1:
        raise UserError(
            f"--devices {devices} is for a Ray cluster ({RAY}={AUTO}); on this machine: torchrun --nproc-per-node "
            f"{devices} -m models_train.jobs.train_reward_model ..."
        )
    return here(report)


def _run_here(path: Path, model_id: str, objective: Objective, home: Path, report: Reporter) -> Mapping[str, Any]:
    """The job in this process, and in those that joined it."""
    with joined() as processes:
        job = training_job(path, model_id, objective, home)
        figures = dict(_train(job, report, processes))
        processes.wait()
        for seed in job.training.further_seeds(model_id):
            figures |= _train_further(job, seed, report, processes)
        return figures


def _train_further(job: TrainingJob, seed: int, report: Reporter, processes: Processes) -> dict[str, Any]:
    """Train the reward model of a further seed at the rate of the search, unless it is there; returns figures."""
    (found,) = part_rows(job.part(SEARCHES))
    job = job.of_seed(seed)
    job = replace(job, training=job.training.at_rate(job.objective, found["learning_rate"], seed))
    is_there = (job.reward_model / "config.json").is_file()
    processes.wait()
    if is_there:
        report.say(f"{job.name}: the reward model is there; nothing to do")
        return {}
    with ExitStack() as held:
        if processes.is_first:
            held.enter_context(job.locked())
        row = _search(job, report, processes)
        if processes.is_first:
            shutil.rmtree(job.working_folder, ignore_errors=True)
    processes.wait()
    if row and row["status"] == "failed":
        raise UserError(f"{job.name}: {row['reason']}. Change recipe or data, or take the seed out of training.seeds")
    return _figures(job, row)


def _train(job: TrainingJob, report: Reporter, processes: Processes) -> Mapping[str, Any]:
    with ExitStack() as held:
        if processes.is_first:
            held.enter_context(job.locked())
        row = _finished(job, report)
        processes.wait()
        if row is None:
            row = _search(job, report, processes)
        if processes.is_first:
            for table in (DROPPED, *TABLES):
                renew_run(parts_of(job.home), table, job.study.study_id, job.run_id)
            shutil.rmtree(job.working_folder, ignore_errors=True)
    if row and row["status"] == "failed":
        raise UserError(f"{job.name}: {row['reason']}. Change recipe or data, and it is trained again")
    return _figures(job, row)


def _finished(job: TrainingJob, report: Reporter) -> dict[str, Any] | None:
    """The row of a search that is complete; None where there is something to do."""
    if not job.part(SEARCHES).exists():
        return None
    (row,) = part_rows(job.part(SEARCHES))
    if row["path"] is not None and not all(job.part(table).exists() for table in TABLES):
        return None
    if row["path"] is not None and not (job.home / row["path"] / "config.json").is_file():
        report.say(f"{job.name}: the parts are there, but not the reward model: training it again")
        return None
    report.say(f"{job.name}: the search is there; nothing to do")
    return row


def _search(job: TrainingJob, report: Reporter, processes: Processes) -> dict[str, Any]:
    """Search, save the reward model, write the parts; returns the search's row, empty in all but the first process."""
    report.say(f"{job.name}: reading data and base model")
    setup = set_up(job.model, job.training, job.objective, job.study_folder, processes, _optimizer(job, processes))
    _say_what_is_read(job, setup, report)
    with beside_others(job.home, lambda text: report.say(f"{job.name}: {text}"), setup.alone):
        return _train_and_save(job, setup, report, processes)


def _optimizer(job: TrainingJob, processes: Processes) -> OptimizerKind | None:
    """The optimizer of a search that goes on, where there is one: on other devices another might be chosen."""
    found = [json.loads(path.read_text())["optimizer"] for path in sorted(job.working_folder.glob("*/run.json"))[:1]]
    optimizer: OptimizerKind | None = processes.of_all(next(iter(found), None))[0]
    return optimizer


def _train_and_save(job: TrainingJob, setup: SearchSetup, report: Reporter, processes: Processes) -> dict[str, Any]:
    _rehearse(job, setup, report, processes)
    runs, outcome = _train_all(job, setup, report)
    if not processes.is_first:
        return {}
    record = SearchRecord(
        model=job.model,
        setup=setup,
        runs=runs,
        outcome=outcome,
        optimism=_optimism(job, setup, runs, outcome, report),
        path=None if outcome.choice is None else job.reward_model.relative_to(job.home).as_posix(),
    )
    rows = record.rows()
    if job.seed is not None:
        # Tables of searches have no row of it: its learning curve stays in the folder's card.
        _write(job, {COSTS: [rows[COSTS][0] | {"variant": variant(job.objective, job.seed)}]}, [COSTS])
        _save(job, record)
        return rows[SEARCHES][0]
    # What was trained is landed before the save, which can still fail; that of the search says that all is done.
    _write(job, rows, [DROPPED, *(table for table in TABLES if table != SEARCHES)])
    _save(job, record)
    _write(job, rows, [SEARCHES])
    return rows[SEARCHES][0]


def _rehearse(job: TrainingJob, setup: SearchSetup, report: Reporter, processes: Processes) -> None:
    """Save the untrained reward model, load it again and compare, so that no trained one is lost for what it lacks.

    Once per search: not where it goes on. Raises UserError.
    """
    folder = job.working_folder / "rehearsal"
    if processes.is_first and not any(job.working_folder.glob("*/run.json")):
        model = setup.untrained_model(job.training.search.seeds[0], getattr(torch, setup.plan.precision))
        if model.module.not_packed is not None:
            report.say(f"{job.name}: on padded batches, which takes longer: {model.module.not_packed}")
        card = Card(setup.source.name, setup.source.stated_revision, job.objective)
        with _named(job, "nothing was trained"):
            save_reward_model(model, folder, setup.tokenizer, card)
        remove(folder)
    processes.wait()


@contextmanager
def _named(job: TrainingJob, state: str) -> Iterator[None]:
    """Name the model in an error of a save, and say how things stand."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{job.name}: {error}; {state}") from error


def _write(job: TrainingJob, rows: Mapping[str, list[dict[str, Any]]], tables: Sequence[str]) -> None:
    """Write the parts of some tables; a table without rows (no run came far enough) has none."""
    for table in tables:
        if rows[table]:
            contract = REWARD_MODEL_TABLES[table]
            write_part(parts_of(job.home), contract, rows[table], study_id=job.study.study_id, run_id=job.run_id)


def _train_all(job: TrainingJob, setup: SearchSetup, report: Reporter) -> tuple[list[TrainingRun], SearchOutcome]:
    recipe, settings = setup.recipe, job.training.search
    names: dict[str, TrainingRun] = {}

    def show(name: str, row: Mapping[str, Any]) -> None:
        text = f"{name} at step {row['step']} of {names[name].n_steps}, loss {row['loss']:.4f}"
        counter.advance(1, row["n_tokens"], text)

    runs = setup.runs(job.working_folder, show)
    names.update({run.folder.path.name: run for run in runs})
    total = planned_steps(runs[0].n_steps, len(recipe.learning_rates), settings, recipe.checkpoint_every)
    done = sum(run.step for run in runs)
    if done:
        report.say(f"{job.name}: resuming after {done} steps")
    with progress(report, f"{job.name}: steps", total, done) as counter:
        outcome = search(runs, settings, recipe.checkpoint_every, lambda text: report.say(f"{job.name}: {text}"))
    return runs, outcome


def _optimism(
    job: TrainingJob, setup: SearchSetup, runs: Sequence[TrainingRun], outcome: SearchOutcome, report: Reporter
) -> Optimism | None:
    report.say(f"{job.name}: measuring the selection bias of the validation accuracy")
    ended = {end.trial.learning_rate for end in outcome.trials if end.status == "finished"}
    checkpoints = {
        (run.learning_rate, run.seed): [checkpoint_rewards(one.step, one.evaluation) for one in run.checkpoints()]
        if end.status == "finished"
        else []
        for run, end in zip(runs, outcome.trials, strict=True)
        if run.learning_rate in ended
    }
    return measure_optimism(checkpoints, setup.data.validation.prompt_ids, n_threads=torch.get_num_threads())


def _save(job: TrainingJob, record: SearchRecord) -> None:
    run, choice = record.selected, record.outcome.choice
    if run is None or choice is None:
        return
    reward_model = run.best_model()
    evaluation = next(one.evaluation for one in run.checkpoints() if one.step == choice.evaluation.step)
    if job.objective == "regression":
        reward_model.merge_weights = dict(zip(ATTRIBUTES, evaluation["weights"], strict=True))
    kept = f"the trained weights are kept in {job.working_folder}, and the next run of this job saves them"
    with _named(job, kept):
        save_reward_model(reward_model, job.reward_model, record.setup.tokenizer, search_card(record, evaluation))


def _say_what_is_read(job: TrainingJob, setup: SearchSetup, report: Reporter) -> None:
    data, thoughts = setup.data, "kept" if job.training.thoughts == "keep" else "cut"
    for note in data.notes:
        report.say(f"{job.name}: {note}")
    for what, rendered in (("examples to train on", data.train), ("pairs to validate with", data.validation)):
        report.say(f"{job.name}: {len(rendered.examples):,} {what}, {rendered.n_truncated:,} of them cut")
        if rendered.n_with_thoughts:
            report.say(f"{job.name}: {rendered.n_with_thoughts:,} of them with thoughts, {thoughts}")
        for reason, n in rendered.left_out.most_common(5):
            report.say(f"{job.name}: {n:,} left out: {reason}")
    report.say(f"{job.name}: {setup.plan.describe()}")


def _figures(job: TrainingJob, row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {
        "training run": row.get("training_run"),
        "step": row.get("step"),
        "validation accuracy": row.get("validation_accuracy"),
        "optimism, points": row.get("optimism_points"),
        "steps": row.get("n_steps"),
        "steps of the full grid": row.get("n_steps_full_grid"),
        "reward model": row.get("path"),
    }
    return {f"{job.name}: {name}": value for name, value in shown.items() if value is not None}


main = partial(run_job, "train_reward_model")

if __name__ == "__main__":
    main()

"""Train the reward model of a base model by one objective: the search over learning rates, its parts, the model.

Training runs are in `<home>/training/<training_run_id>/` while the search is at work: a job that was killed goes on
from there. The reward model is saved in `<home>/reward_models/<training_run_id>/`. Where parts and model are there,
nothing is done. Under torchrun the processes share one model.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import torch
from transformers.utils.logging import disable_progress_bar

from models_train.data.records import ATTRIBUTES
from models_train.errors import UserError
from models_train.jobs.job_spec import Cell, CellError, alone, cell_of
from models_train.jobs.progress import progress
from models_train.jobs.reporting import Reporter, reporter
from models_train.modeling.base_models import BackboneError
from models_train.parts import write_part
from models_train.reward_models.distributed import Processes, joined
from models_train.reward_models.export import save_reward_model
from models_train.reward_models.search import SearchOutcome, SearchSetup, planned_steps, search, set_up
from models_train.reward_models.search_records import SearchRecord, search_card
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import Optimism, checkpoint_rewards, measure_optimism
from models_train.study.settings import Objective
from warehouse.contracts import REWARD_MODEL_TABLES

SEARCHES = "reward_model_searches"
TABLES = ("reward_model_runs", "reward_model_steps", "reward_model_checkpoints", "run_costs", SEARCHES)
EXPECTED = (BackboneError, CellError, UserError)


class SearchFailed(RuntimeError):
    """Every training run failed. The message says why; it stands in the parts, too."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job for one base model and objective of a study."""
    options = _parser().parse_args(arguments)
    disable_progress_bar()  # of loading weights, which would run through the job's own
    with reporter() as report:
        try:
            with joined() as processes:
                found = train(options.study, options.model, options.objective, options.home, report, processes)
        except (*EXPECTED, SearchFailed) as error:
            report.fail(str(error))
        else:
            report.done(found)


def train(
    path: Path, model_id: str, objective: Objective, home: Path, report: Reporter, processes: Processes
) -> Mapping[str, Any]:
    """Search, and write what is not there yet; returns figures. Raises EXPECTED, SearchFailed."""
    cell = cell_of(path, model_id, objective, home)
    with ExitStack() as held:
        if processes.is_first:
            held.enter_context(alone(cell))
        row = _finished(cell, report)
        processes.wait()
        if row is None:
            row = _search(cell, report, processes)
        if processes.is_first:
            shutil.rmtree(cell.working_folder, ignore_errors=True)
    if row and row["status"] == "failed":
        raise SearchFailed(f"{cell.name}: {row['reason']}. Change recipe or data, and it is trained anew")
    return _figures(cell, row)


def _finished(cell: Cell, report: Reporter) -> dict[str, Any] | None:
    """The row of a search that is complete; None where there is something to do."""
    if not cell.part(SEARCHES).exists():
        return None
    row: dict[str, Any] = pq.read_table(cell.part(SEARCHES), partitioning=None).to_pylist()[0]
    if row["path"] is not None and not all(cell.part(table).exists() for table in TABLES):
        return None
    if row["path"] is not None and not (cell.home / row["path"] / "config.json").is_file():
        report.say(f"{cell.name}: the parts are there, but not the reward model: training it again")
        return None
    report.say(f"{cell.name}: the search is there; nothing to do")
    return row


def _search(cell: Cell, report: Reporter, processes: Processes) -> dict[str, Any]:
    """Search, save the reward model, write the parts; returns the search's row, empty in all but the first process."""
    report.say(f"{cell.name}: reading data and base model")
    setup = set_up(cell.model, cell.training, cell.objective, cell.study_folder, processes)
    _tell(cell, setup, report)
    runs, outcome = _train_all(cell, setup, report)
    if not processes.is_first:
        return {}
    record = SearchRecord(
        model_id=cell.model.model_id,
        objective=cell.objective,
        training=cell.training,
        hub_id=cell.model.hub_id,
        revision=setup.source.stated_revision,
        data=setup.data,
        plan=setup.plan,
        runs=runs,
        outcome=outcome,
        optimism=_optimism(cell, setup, runs, outcome, report),
        path=None if outcome.choice is None else cell.reward_model.relative_to(cell.home).as_posix(),
    )
    _save(cell, setup, record)
    return _write(cell, record.rows())


def _write(cell: Cell, rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Write the parts, that of the search last; a table without rows (no run came far enough) has none."""
    for table in TABLES:
        if rows[table]:
            contract = REWARD_MODEL_TABLES[table]
            write_part(cell.home / "parts", contract, rows[table], study_id=cell.study.study_id, run_id=cell.run_id)
    return rows[SEARCHES][0]


def _train_all(cell: Cell, setup: SearchSetup, report: Reporter) -> tuple[list[TrainingRun], SearchOutcome]:
    recipe, settings = setup.recipe, cell.training.search
    names: dict[str, TrainingRun] = {}

    def show(name: str, row: Mapping[str, Any]) -> None:
        text = f"{name} at step {row['step']} of {names[name].n_steps}, loss {row['loss']:.4f}"
        counter.advance(1, row["n_tokens"], text)

    runs = setup.runs(cell.working_folder, show)
    names.update({run.folder.path.name: run for run in runs})
    total = planned_steps(runs[0].n_steps, len(recipe.learning_rates), settings, recipe.checkpoint_every)
    done = sum(run.step for run in runs)
    if done:
        report.say(f"{cell.name}: going on after {done} steps")
    with progress(report, f"{cell.name}: steps", total, done) as counter:
        outcome = search(runs, settings, recipe.checkpoint_every, lambda text: report.say(f"{cell.name}: {text}"))
    return runs, outcome


def _optimism(
    cell: Cell, setup: SearchSetup, runs: Sequence[TrainingRun], outcome: SearchOutcome, report: Reporter
) -> Optimism | None:
    report.say(f"{cell.name}: measuring how much choosing on the validation pairs flatters")
    ended = {end.trial.learning_rate for end in outcome.trials if end.status == "finished"}
    checkpoints = {
        (run.learning_rate, run.seed): [checkpoint_rewards(one.step, one.evaluation) for one in run.checkpoints()]
        if end.status == "finished"
        else []
        for run, end in zip(runs, outcome.trials, strict=True)
        if run.learning_rate in ended
    }
    return measure_optimism(checkpoints, setup.data.validation.prompt_ids, n_threads=torch.get_num_threads())


def _save(cell: Cell, setup: SearchSetup, record: SearchRecord) -> None:
    run, choice = record.selected, record.outcome.choice
    if run is None or choice is None:
        return
    reward_model = run.best_model()
    evaluation = next(one.evaluation for one in run.checkpoints() if one.step == choice.evaluation.step)
    if cell.objective == "regression":
        reward_model.merge_weights = dict(zip(ATTRIBUTES, evaluation["weights"], strict=True))
    save_reward_model(reward_model, cell.reward_model, setup.tokenizer, search_card(record, setup, evaluation))


def _tell(cell: Cell, setup: SearchSetup, report: Reporter) -> None:
    data = setup.data
    for what, rendered in (("examples to train on", data.train), ("pairs to validate with", data.validation)):
        report.say(f"{cell.name}: {len(rendered.examples):,} {what}, {rendered.n_truncated:,} of them cut")
        for reason, n in rendered.left_out.most_common(5):
            report.say(f"{cell.name}: {n:,} left out: {reason}")
    report.say(f"{cell.name}: {setup.plan.describe()}")


def _figures(cell: Cell, row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {
        "training run": row.get("training_run"),
        "step": row.get("step"),
        "validation accuracy": row.get("validation_accuracy"),
        "optimism, points": row.get("optimism_points"),
        "steps": row.get("n_steps"),
        "steps of the full grid": row.get("n_steps_full_grid"),
        "reward model": row.get("path"),
    }
    return {f"{cell.name}: {name}": value for name, value in shown.items() if value is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models_train.jobs.train_reward_model", description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="study file")
    parser.add_argument("--model", required=True, help="model_id of the base model")
    parser.add_argument("--objective", choices=get_args(Objective), required=True, help="what the model is trained for")
    parser.add_argument("--home", type=Path, required=True, help="run-time folder, for parts and reward models")
    return parser


if __name__ == "__main__":
    main()

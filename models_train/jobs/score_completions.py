"""Ask a trained reward model for the reward of every completion of the test set, and write its parts.

The reward model is that of `train_reward_model`, at `<home>/reward_models/<training_run_id>/`. Where the parts are
there, nothing is done. An item that cannot be scored has rows with a status (definitions, Section 1).
"""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import torch
from transformers.utils.logging import disable_progress_bar

from models_train.data.chat import Renderer
from models_train.data.rewardbench import load_test_pairs
from models_train.errors import UserError
from models_train.jobs.job_spec import Cell, CellError, cell_of
from models_train.jobs.progress import progress
from models_train.jobs.reporting import Reporter, reporter
from models_train.metering import default_device, measure
from models_train.modeling.base_models import BackboneError, ModelSource, context_length, load_tokenizer
from models_train.parts import write_part
from models_train.reward_models.model import RewardModel
from models_train.reward_models.scoring import OK, score_pairs
from models_train.study.fingerprints import evaluation_run_id
from models_train.study.settings import Objective
from warehouse.contracts import REWARD_MODEL_TABLES

JOB = "score_completions"
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
REWARDS, COSTS = "completion_rewards", "run_costs"
EXPECTED = (BackboneError, CellError, UserError)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the job for one base model and objective of a study."""
    options = _parser().parse_args(arguments)
    disable_progress_bar()  # of loading weights, which would run through the job's own
    with reporter() as report:
        try:
            report.done(score(options.study, options.model, options.objective, options.home, report))
        except EXPECTED as error:
            report.fail(str(error))


def score(path: Path, model_id: str, objective: Objective, home: Path, report: Reporter) -> dict[str, Any]:
    """Score the test set and write what is not there yet; returns figures: `rows`, and completions by status.

    Raises EXPECTED.
    """
    cell = cell_of(path, model_id, objective, home)
    run_id = evaluation_run_id(cell.model, cell.training, objective, cell.study_folder)
    parts = {name: home / "parts" / name / cell.study.study_id / f"{run_id}.parquet" for name in (REWARDS, COSTS)}
    if all(part.exists() for part in parts.values()):
        report.say(f"{cell.name}: the rewards are there; nothing to do")
        return _figures(pq.read_table(parts[REWARDS], partitioning=None).to_pylist())
    if not cell.reward_model.is_dir():
        options = shlex.join(["--study", str(path), "--model", model_id, "--objective", objective, "--home", str(home)])
        raise CellError(
            f"{cell.name}: this reward model is not trained yet with these settings and data (there is no "
            f"{cell.reward_model}); train it first: python -m models_train.jobs.train_reward_model {options}"
        )
    rows, costs = _scored(cell, report)
    for name, found in ((REWARDS, rows), (COSTS, [costs])):
        write_part(home / "parts", REWARD_MODEL_TABLES[name], found, study_id=cell.study.study_id, run_id=run_id)
    return _figures(rows)


def _scored(cell: Cell, report: Reporter) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of completion_rewards, and the row of run_costs."""
    pairs = load_test_pairs(cell.training.test_set, cell.study_folder)
    device = default_device()
    reward_model, renderer = _loaded(cell)
    reward_model.to(device)
    what = f"{cell.name}: completions scored"
    with measure(device) as meter, progress(report, what, 2 * len(pairs)) as counter:

        def advance(n_sequences: int, n_tokens: int) -> None:
            meter.add_tokens(n_tokens)
            counter.advance(n_sequences, n_tokens)

        weights, at_once = reward_model.merge_weights, cell.training.tokens_per_pack
        found = score_pairs(reward_model, renderer, pairs, weights, at_once, advance)
    rows = [{"model_id": cell.model.model_id, "objective": cell.objective, **row} for row in found]
    if all(row["status"] != OK for row in rows):
        raise CellError(
            f"{cell.name}: none of {2 * len(pairs)} completions could be scored, so nothing was written; of the first "
            f"is said: {rows[0]['status']}"
        )
    return rows, meter.costs.row(cell.model.model_id, JOB, cell.objective)


def _loaded(cell: Cell) -> tuple[RewardModel, Renderer]:
    """The saved reward model, and what renders for it as in training."""
    folder, code = cell.reward_model, cell.model.remote_code
    reward_model = RewardModel.load(folder, DTYPES[cell.training.precision], remote_code=code)
    if cell.objective == "regression" and reward_model.merge_weights is None:
        raise CellError(f"{folder}: config.json has no merge_weights; remove the folder and train the model again")
    tokenizer = load_tokenizer(ModelSource(cell.model.model_id, str(folder), remote_code=code))
    recipe = cell.training.recipe(cell.objective)
    return reward_model, Renderer(tokenizer, recipe.max_tokens, recipe.over_long, context_length(reward_model.config))


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows, and completions by status; what a status says of its one completion, behind the colon, is left out."""
    completions = {(row["subset"], row["item_id"], row["completion"]): row["status"] for row in rows}
    by_status = Counter(status.split(":")[0] for status in completions.values())
    figures = {"rows": len(rows), "completions": len(completions)}
    return figures | {f"completions, {status}": n for status, n in by_status.most_common()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models_train.jobs.score_completions", description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="study file")
    parser.add_argument("--model", required=True, help="model_id of the base model")
    parser.add_argument("--objective", choices=get_args(Objective), required=True, help="objective of the reward model")
    parser.add_argument("--home", type=Path, required=True, help="run-time folder, for parts and reward models")
    return parser


if __name__ == "__main__":
    main()

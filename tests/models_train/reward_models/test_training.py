"""A training run goes on where it stopped, bit for bit; keeps only the files it needs; and fails with a clear error."""

from __future__ import annotations

import json
import os
import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from models_train.errors import UserError
from models_train.modeling.packing import pack
from models_train.reward_models.checkpoints import TrainingLog
from models_train.reward_models.distributed import current_processes
from models_train.reward_models.memory import MemoryPlan
from models_train.reward_models.model import RewardModel
from models_train.reward_models.training import TrainingRun, TrainingState
from models_train.reward_models.validation import Evaluation, TrainingFailed
from tests.support.tiny_models import SIZES
from tests.support.training_runs import RECIPE, evaluate, pairs, plan, reward_model, training_run
from warehouse.contracts import REWARD_MODEL_TABLES

pytestmark = pytest.mark.slow

HOWS = {
    "float32": plan(),
    "bfloat16": plan(precision="bfloat16", gradient_checkpointing=True),
    "8 bit": plan("adamw_8bit", precision="bfloat16"),
    "offloaded": plan("adamw_offloaded", precision="bfloat16"),
}


class Killed(BaseException):
    """As if the process ended here."""


def curve(run: TrainingRun) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.steps]


def same(run: TrainingRun, other: TrainingRun) -> None:
    """Equal loss curves and evaluations, and equal weights of the best checkpoint, to the bit."""
    assert curve(run) == curve(other)
    assert run.checkpoints() == other.checkpoints()
    given, wanted = run.best_model().classifier.state_dict(), other.best_model().classifier.state_dict()
    assert given.keys() == wanted.keys()
    assert all(torch.equal(given[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("how", HOWS.values(), ids=HOWS.keys())
def test_an_interrupted_run_follows_the_same_curve_bitwise(how: MemoryPlan, tmp_path: Path) -> None:
    undisturbed = training_run(tmp_path / "undisturbed", how=how)
    undisturbed.advance(undisturbed.n_steps)
    assert undisturbed.step == undisturbed.n_steps == 12
    chance = random.Random(3)
    for _ in range(4):
        deadline = chance.randrange(1, 12)

        def kill(row: Any, deadline: int = deadline) -> None:
            if row["step"] == deadline:
                raise Killed

        with pytest.raises(Killed):
            run = training_run(tmp_path / "run", how=how, on_step=kill)
            run.advance(chance.choice([3, 7, 12]) if run.step >= deadline else 12)
            raise Killed
    run = training_run(tmp_path / "run", how=how)
    run.advance(99)
    same(run, undisturbed)


def test_the_rungs_of_a_search_are_exact_prefixes(tmp_path: Path) -> None:
    whole = training_run(tmp_path / "whole")
    whole.advance(12)
    run = training_run(tmp_path / "run")
    for to_step in (2, 2, 7, 7, 12):
        run.advance(to_step)
        assert run.step == to_step and len(run.steps) == to_step
        run.release()
        assert run.step == to_step
    same(run, whole)
    assert [one.step for one in run.evaluations()] == [5, 10, 12]


def test_a_finished_run_loads_no_model(tmp_path: Path) -> None:
    training_run(tmp_path).advance(12)

    def load() -> RewardModel:
        raise AssertionError("not needed")

    run = training_run(tmp_path, load=load)
    run.advance(12)
    assert run.step == 12 and run.failure is None


def test_what_stays_on_disk(tmp_path: Path) -> None:
    standings = iter([(1, 0.5), (3, 0.9), (3, 0.8)])

    def judge(model: RewardModel) -> dict[str, Any]:
        n_won, loss = next(standings)
        return {"n_won": n_won, "n_pairs": 3, "loss": loss}

    run = training_run(tmp_path, evaluate=judge)
    expected = {5: [5], 10: [10], 12: [12]}
    for step, weights in expected.items():
        run.advance(step)
        assert [checkpoint.step for checkpoint in run.checkpoints() if checkpoint.has_weights] == weights
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "journal.jsonl",
            "run.json",
            f"state-{step:08d}",
            f"weights-{weights[0]:08d}",
        ]
    assert not list((tmp_path / "state-00000012").iterdir()), "nothing goes on from the end"
    assert run.evaluations() == [Evaluation(5, 1, 3, 0.5), Evaluation(10, 3, 3, 0.9), Evaluation(12, 3, 3, 0.8)]


def test_the_best_checkpoint_is_the_model_that_was_evaluated(tmp_path: Path) -> None:
    run = training_run(tmp_path, how=HOWS["bfloat16"])
    run.advance(12)
    best = min(run.checkpoints(), key=lambda checkpoint: checkpoint.standing.order)
    model = run.best_model()
    assert model.classifier.dtype == torch.bfloat16 and model.head.weight.dtype == torch.float32
    with torch.no_grad():
        assert evaluate(model) == best.evaluation


def test_a_torn_state_and_a_torn_journal_are_passed_over(tmp_path: Path) -> None:
    whole = training_run(tmp_path / "whole")
    whole.advance(12)
    run = training_run(tmp_path / "run")
    run.advance(5)
    state = tmp_path / "run" / "state-00000005"
    shutil.copytree(state, state.parent / "state-00000010")
    (torn,) = (state.parent / "state-00000010").iterdir()
    torn.write_bytes(torn.read_bytes()[:-100])
    (state.parent / ".state-00000011.tmp").mkdir()
    (state.parent / ".state-00000011.tmp" / "shard.safetensors").write_bytes(b"begun")
    with (state.parent / "journal.jsonl").open("a") as file:
        file.write('{"event": "step", "step": 6, "lo')
    run = training_run(tmp_path / "run")
    assert run.step == 5
    run.advance(12)
    same(run, whole)
    assert not list(state.parent.glob(".*"))
    assert all(json.loads(line) for line in (state.parent / "journal.jsonl").read_text().splitlines())


def test_steps_without_their_journal_are_refused(tmp_path: Path) -> None:
    training_run(tmp_path).advance(5)
    (tmp_path / "journal.jsonl").write_text("")
    with pytest.raises(UserError, match=r"lacks steps before 5.*remove the folder"):
        training_run(tmp_path)


def test_another_run_does_not_take_the_folder(tmp_path: Path) -> None:
    training_run(tmp_path).advance(1)
    with pytest.raises(UserError, match="holds another run: seed differ"):
        training_run(tmp_path, seed=6)
    with pytest.raises(UserError, match="data_hash, n_examples differ"):
        training_run(tmp_path, examples=pairs(42))
    with pytest.raises(UserError, match="optimizer differ"):
        training_run(tmp_path, how=plan("adamw_8bit"))
    training_run(tmp_path, how=plan(tokens_per_pack=99)).advance(2)


def test_another_base_model_does_not_take_the_state(tmp_path: Path) -> None:
    training_run(tmp_path).advance(1)
    wider = LlamaConfig(**SIZES | {"hidden_size": 64})
    with pytest.raises(UserError, match="state of step 1 does not fit the model"):
        training_run(tmp_path, load=lambda: reward_model(config=wider)).advance(2)


def test_a_loss_that_is_not_finite_ends_the_run_in_words(tmp_path: Path) -> None:
    def load() -> RewardModel:
        model = reward_model()
        with torch.no_grad():
            model.classifier.get_input_embeddings().weight[200] = float("nan")
        return model

    examples = pairs(43)
    examples[1] = type(examples[1])([3, 200], [4])  # one example only, so that some steps are still good
    clean = [pair for pair in examples if 200 not in (*pair.chosen, *pair.rejected)]
    run = training_run(tmp_path, load=load, examples=[*clean, examples[1]])
    with pytest.raises(
        TrainingFailed, match=r"the loss is nan at step \d+ of \d+ \(learning rate 0.001, seed 5\)"
    ) as error:
        run.advance(12)
    assert run.failure == str(error.value)
    n_steps = len(run.steps)
    assert 0 < n_steps < run.n_steps
    again = training_run(tmp_path, load=load, examples=[*clean, examples[1]])
    assert again.step == n_steps == len(again.steps)
    with pytest.raises(TrainingFailed, match="the loss is nan"):
        again.advance(12)


def test_an_evaluation_that_fails_ends_the_run(tmp_path: Path) -> None:
    def judge(model: RewardModel) -> dict[str, Any]:
        raise TrainingFailed("3 rewards are NaN")

    run = training_run(tmp_path, evaluate=judge)
    with pytest.raises(TrainingFailed, match=r"^step 5: 3 rewards are NaN$"):
        run.advance(12)
    again = training_run(tmp_path)
    assert again.step == 5 and len(again.steps) == 5 and again.checkpoints() == []
    with pytest.raises(TrainingFailed, match=r"^step 5: 3 rewards are NaN$"):
        again.advance(12)


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_between_any_two_file_operations(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a rename, a flush, a removal or a line of the journal; files half written stay as they are."""
    recipe = RECIPE.model_copy(update={"epochs": 1, "checkpoint_every": 1})
    examples = pairs(4 * recipe.global_batch)

    def run(name: str) -> TrainingRun:
        return training_run(tmp_path / name, recipe=recipe, examples=examples, evaluate=standing)

    def standing(model: RewardModel) -> dict[str, Any]:
        """Random, so that the best checkpoint changes or does not; the same for equal weights."""
        return {"n_won": int(model.head.weight.sum().item() * 1e6) % 7, "n_pairs": 7, "loss": None}

    undisturbed = run("undisturbed")
    undisturbed.advance(4)
    chance = random.Random(seed)
    countdown = [0]

    def kill_at_zero() -> None:
        countdown[0] -= 1
        if countdown[0] == 0:
            raise Killed

    with monkeypatch.context() as patched:
        for owner, name in ((os, "rename"), (os, "replace"), (os, "fsync"), (shutil, "rmtree"), (TrainingLog, "write")):
            plain = getattr(owner, name)

            def checked(*arguments: Any, plain: Any = plain, **settings: Any) -> Any:
                kill_at_zero()
                return plain(*arguments, **settings)

            patched.setattr(owner, name, checked)
        for _ in range(8):
            countdown[0] = chance.randrange(1, 40)
            with suppress(Killed):
                run("run").advance(4)
    resumed = run("run")
    resumed.advance(4)
    same(resumed, undisturbed)


def test_a_device_without_memory_is_told_in_words(tmp_path: Path) -> None:
    def judge(model: RewardModel) -> dict[str, Any]:
        raise torch.OutOfMemoryError("no memory")

    run = training_run(tmp_path, evaluate=judge)
    with pytest.raises(UserError, match=r"ran out of memory.*packs of 150 tokens.*smaller tokens_per_pack"):
        run.advance(12)


def test_steps_fit_their_contract(tmp_path: Path) -> None:
    seen: list[Any] = []
    run = training_run(tmp_path, "regression", on_step=seen.append)
    run.advance(12)
    columns = set(REWARD_MODEL_TABLES["reward_model_steps"].schema.names)
    assert set(run.steps[0]) == columns - {"study_id", "run_id", "model_id", "objective", "training_run"}
    assert [row["learning_rate"] for row in run.steps[:5]] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3])
    assert [row["n_examples"] for row in run.steps] == [8, 8, 8, 8, 8, 3] * 2
    assert seen == run.steps


def test_costs_add_up_over_interruptions(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    run.advance(7)
    before = run.costs
    shutil.rmtree(tmp_path / "state-00000007")
    run = training_run(tmp_path)
    assert run.step == 0
    run.advance(7)
    assert run.costs.n_tokens == before.n_tokens == sum(row["n_tokens"] for row in run.steps)
    assert run.costs.device_seconds > before.device_seconds
    assert run.costs.device == "cpu" and run.costs.n_devices == 1 and run.costs.peak_memory_bytes


def test_gradient_checkpointing_keeps_inputs_of_layers_only() -> None:
    """Fewer bytes kept by autograd; that the numbers are the same is tested by the trajectory."""
    kept = {}
    for checkpointing in (False, True):
        how = plan(gradient_checkpointing=checkpointing)
        state = TrainingState(reward_model, RECIPE, how, current_processes())
        state.begin_step(1e-3)
        kept[checkpointing] = 0

        def count(tensor: torch.Tensor, which: bool = checkpointing) -> torch.Tensor:
            kept[which] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            state.model.rewards(pack([list(range(3, 203))]))
    assert kept[True] < kept[False] / 3

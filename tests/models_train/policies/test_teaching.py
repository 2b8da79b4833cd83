"""RLOO and GRPO on tiny policies: advantages and gradients against TRL's, resuming, statistics of rewards."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel

from models_train.errors import UserError
from models_train.policies.teaching import (
    Batch,
    Normalised,
    RunFailed,
    Teaching,
    grpo_advantages,
    objective,
    prompt_batches,
    rloo_advantages,
    saved_steps,
    statistics,
    token_scores,
)
from models_train.policies.trl_teaching import TrlTeaching
from models_train.study.teachers import Method
from tests.support.policies import PROMPTS, letters, model_of, policies_of, small_run, teach_prompts
from tests.support.tiny_models import byte_tokenizer, write_base

NONE = math.nan


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("policy"), tokenizer=byte_tokenizer(pad_token="<unk>"))


def test_rloo_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.0, NONE, 4.0], [NONE, 3.0, NONE], [5.0, 5.0, 5.0]])
    kl = torch.tensor([[0.0, 0.0, 0.0], [10.0, 0.0, 20.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    wanted = [[1 - 4, 2 - 3.5, 6 - 1.5], [-1 - 2, 0, 2 + 1], [0, 0, 0], [0, 0, 0]]
    assert rloo_advantages(rewards, kl, 0.1).numpy() == pytest.approx(np.array(wanted), abs=1e-6)


def test_grpo_advantages_hide_the_scale_of_a_prompt() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.001, 0.002, 0.006], [0.0, NONE, 4.0], [NONE, 3.0, NONE]])
    found = grpo_advantages(rewards).numpy()
    row = np.array([1.0, 2.0, 6.0])
    assert found[0] == pytest.approx((row - 3) / (row.std(ddof=1) + 1e-4), abs=1e-6)
    assert found[1] == pytest.approx(found[0], rel=0.05), "a thousandth of the rewards, advantages of the same size"
    assert found[2] == pytest.approx([-2 / (math.sqrt(8) + 1e-4), 0, 2 / (math.sqrt(8) + 1e-4)], abs=1e-6)
    assert (found[3] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_advantages_and_gradients_equal_those_of_trl(policy: Path, tmp_path: Path, method: Method) -> None:
    records = _trl_records(policy, tmp_path, method)
    assert len(records) == 3
    initial, n_vocabulary = model_of(policy), model_of(policy).config.vocab_size
    moved = 0.0
    for record in records:
        model = model_of(policy)
        model.load_state_dict(record["weights"])
        batch, rewards = record["batch"], record["rewards"]
        now = token_scores(model, batch, 1.0, n_vocabulary)
        with torch.no_grad():
            reference = token_scores(initial, batch, 1.0, n_vocabulary).logprobs
        kl = now.sums(now.logprobs.detach() - reference, rewards.numel()).view(rewards.shape)
        moved = max(moved, float(kl.abs().max()))
        own = rloo_advantages(rewards, kl, 0.05) if method == "rloo" else grpo_advantages(rewards)
        assert own.flatten().numpy() == pytest.approx(record["advantages"].numpy(), abs=1e-6)
        loss = objective(method, now, reference, rewards, 0.05)
        gradient = torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(model.parameters()))])
        assert float((gradient - record["gradient"]).norm() / record["gradient"].norm()) < 1e-4
    assert moved > 0.01, "the policy left the initial one, so that the KL penalty counts"


def _trl_records(policy: Path, folder: Path, method: Method) -> list[dict[str, Any]]:
    """Of each of three steps of TRL: weights, responses, rewards, advantages and gradient."""
    import trl

    kind, config = (trl.RLOOTrainer, trl.RLOOConfig) if method == "rloo" else (trl.GRPOTrainer, trl.GRPOConfig)
    given: dict[tuple[int, ...], float] = {}
    records: list[dict[str, Any]] = []

    def reward(completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        found = letters([], [one[0]["content"] for one in completions])
        given.update({tuple(ids): one for ids, one in zip(completion_ids, found, strict=True) if one is not None})
        return found

    class Recording(kind):  # type: ignore[misc, valid-type]
        def compute_loss(self, model: PreTrainedModel, inputs: dict[str, Any], *more: Any, **named: Any) -> Any:
            loss = super().compute_loss(model, inputs, *more, **named)
            gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
            prompts, responses = (_unpadded(inputs, name) for name in ("prompt", "completion"))
            places = sorted(range(len(prompts)), key=lambda place: (prompts[place], place))
            records.append(
                {
                    "weights": {name: weight.detach().clone() for name, weight in model.state_dict().items()},
                    "batch": Batch(tuple(prompts[one] for one in places), tuple(responses[one] for one in places)),
                    "rewards": torch.tensor([given[responses[one]] for one in places]).view(2, 4),
                    "advantages": inputs["advantages"][places],
                    "gradient": torch.cat([one.flatten() for one in gradients]),
                }
            )
            return loss

    tokenizer = byte_tokenizer("{% for m in messages %}{{ m['content'] }}{% endfor %}", pad_token="<unk>")
    more: dict[str, Any] = {} if method == "rloo" else {"scale_rewards": "group"}
    arguments = config(
        str(folder), per_device_train_batch_size=8, num_generations=4, max_steps=3, max_completion_length=12,
        learning_rate=1e-2, lr_scheduler_type="constant", beta=0.05, report_to="none", save_strategy="no", bf16=False,
        use_cpu=True, gradient_checkpointing=False, disable_tqdm=True, seed=1, **more,
    )  # fmt: skip
    prompts = Dataset.from_list([{"prompt": [{"role": "user", "content": one}]} for one in PROMPTS])
    Recording(model_of(policy), reward, arguments, prompts, processing_class=tokenizer).train()
    return records


def _unpadded(inputs: dict[str, Any], name: str) -> list[tuple[int, ...]]:
    pairs = zip(inputs[f"{name}_ids"], inputs[f"{name}_mask"].bool(), strict=True)
    return [tuple(ids[mask].tolist()) for ids, mask in pairs]


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_an_interrupted_run_goes_on_to_equal_curves_and_weights(policy: Path, tmp_path: Path, method: Method) -> None:
    def taught(folder: Path, last: int | None = None) -> list[dict[str, Any]]:
        def stop(step: int) -> None:
            if step == last:
                raise KeyboardInterrupt

        policies = policies_of(policy)
        run = small_run(method)
        return Teaching(run, policies, letters, folder).train(teach_prompts(policies.text), stop)

    whole = taught(tmp_path / "whole")
    assert [row["step"] for row in whole] == list(range(1, 9))
    for last in (1, 5, 7):  # before the first saved step; after one; twice
        with pytest.raises(KeyboardInterrupt):
            taught(tmp_path / "cut", last)
    again = taught(tmp_path / "cut")
    assert [_timeless(row) for row in again] == [_timeless(row) for row in whole]
    for step in (2, 4, 6, 8):
        one, other = (model_of(tmp_path / name / str(step)).state_dict() for name in ("whole", "cut"))
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["lm_head.weight"], model_of(policy).state_dict()["lm_head.weight"])
    kept = sorted(path.parent.name for path in (tmp_path / "whole").rglob("optimizer.safetensors"))
    assert kept == ["8"], "optimizers of earlier steps are removed"


def _timeless(row: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in row.items() if name != "seconds"})


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_the_policy_learns_what_is_rewarded(policy: Path, tmp_path: Path, method: Method) -> None:
    policies = policies_of(policy)
    run = small_run(method, steps=25, learning_rate=1e-2, kl=0.0)
    rows = Teaching(run, policies, letters, tmp_path).train(teach_prompts(policies.text), lambda _: None)
    first, last = (np.mean([row["proxy_reward"] for row in part]) for part in (rows[:5], rows[-5:]))
    assert last > first + 0.15
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4) and rows[-1]["kl"] > 0.5
    assert all(0 <= row["share_finished"] <= 1 and row["n_tokens"] == 8 * row["mean_length"] for row in rows)


def test_equal_rewards_move_nothing_but_toward_the_initial_policy(policy: Path, tmp_path: Path) -> None:
    policies = policies_of(policy)
    run = small_run("grpo", steps=2, kl=0.0)
    rows = Teaching(run, policies, lambda _, texts: [1.0 for _ in texts], tmp_path).train(
        teach_prompts(policies.text), lambda _: None
    )
    assert [row["share_groups_without_spread"] for row in rows] == [1.0, 1.0]
    assert [row["gradient_norm"] for row in rows] == [0.0, 0.0]


def test_a_step_without_rewards_fails_the_run(policy: Path, tmp_path: Path) -> None:
    policies = policies_of(policy)
    teaching = Teaching(small_run(), policies, lambda _, texts: [None for _ in texts], tmp_path)
    with pytest.raises(RunFailed, match="no response of step 1 has a reward"):
        teaching.train(teach_prompts(policies.text), lambda _: None)


def test_rewards_are_shifted_and_scaled_by_given_statistics() -> None:
    shift, scale = statistics([1.0, 2.0, 6.0], "mine")
    assert (shift, scale) == (3.0, pytest.approx(math.sqrt(14 / 3 + 1e-8), rel=1e-12))
    normalised = Normalised(lambda _, texts: [float(len(text)) if text else None for text in texts], shift, scale)
    assert normalised([], ["abc", "", "abcde"]) == [0.0, None, pytest.approx(2 / scale)]
    for rewards, text in (([2.0, 2.0], "are all equal"), ([2.0], "fewer than two"), ([], "fewer than two")):
        with pytest.raises(UserError, match=text):
            statistics(rewards, "mine")


@pytest.mark.parametrize(
    ("steps", "wanted"), [(40, [0, 10, 20, 30, 40]), (1, [0, 1]), (3, [0, 1, 2, 3]), (6, [0, 2, 3, 4, 6])]
)
def test_saved_steps(steps: int, wanted: list[int]) -> None:
    assert saved_steps(steps) == wanted


def test_every_pass_has_all_prompts_in_another_order(policy: Path) -> None:
    prompts = teach_prompts(policies_of(policy).text)
    batches = list(prompt_batches(prompts, small_run(steps=6)))
    order = [one.prompt.prompt_id for batch in batches for one in batch]
    assert set(order[:6]) == set(order[6:]) == {f"p{number}" for number in range(1, 7)} and order[:6] != order[6:]
    assert list(prompt_batches(prompts, small_run(steps=6, seed=1))) != batches


@pytest.mark.slow
def test_a_run_by_trl_resumes_to_equal_curves(policy: Path, tmp_path: Path) -> None:
    def taught(folder: Path, last: int | None = None) -> TrlTeaching:
        def stop(step: int) -> None:
            if step == last:
                raise KeyboardInterrupt

        text = policies_of(policy).text
        teaching = TrlTeaching(small_run(steps=4), str(policy), text, letters, folder)
        rows.append(teaching.train(teach_prompts(text), stop))
        return teaching

    rows: list[list[dict[str, Any]]] = []
    whole = taught(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        taught(tmp_path / "cut", 3)
    cut = taught(tmp_path / "cut")
    first, second = rows
    assert [row["step"] for row in first] == [1, 2, 3, 4]
    assert [_timeless(row) for row in second] == [_timeless(row) for row in first]
    for step in (2, 4):
        one, other = (model_of(each.saved(step)).state_dict() for each in (whole, cut))
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert first[0]["kl"] == pytest.approx(0, abs=1e-3) and first[0]["share_groups_without_spread"] == 0

"""Training of a policy by rewards: what a run is, its advantages, and the loop that trains small policies.

Policies of at most MOST_PARAMETERS are trained here; all others by TRL (`trl_teaching`), whose set-up costs more than
a whole run of a small one. Both take the same steps: the advantages and a step's gradient are TRL's (a test compares
them). Responses are sampled from the whole distribution at the policy's temperature, once per step, so that the ratio
of new and old probabilities is 1 and nothing is clipped.

Rewards are shifted and scaled by the *initial* policy's statistics, the same for the whole run. Of a response without a
reward the advantage is 0, and the baseline leaves it out.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from models_train.data.chat import Asked
from models_train.errors import UserError
from models_train.files import atomic_path, remove
from models_train.parts import content_hash
from models_train.policies.prompts import PolicyPrompt
from models_train.policies.sampling import PolicyText, Request, Sampled, SamplingEngine
from models_train.study.teachers import SHARES_SAVED, Method

MOST_PARAMETERS = 20_000_000
"""Most parameters of a policy that is trained by the loop of this module."""
LARGEST_GRADIENT = 1.0
"""Norm that gradients are clipped to: TRL's default."""
GROUP_EPSILON = 1e-4
"""Added to the standard deviation of a group in GRPO: TRL's."""
SCALE_EPSILON = 1e-8
"""Added to the variance of the initial policy's rewards (Razin et al. 2025, code)."""
_WEIGHTS = "model.safetensors"
OPTIMIZER, ROWS = "optimizer.safetensors", "steps.json"
"""Files of the optimizer's state, and of the rows up to a saved step."""
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class RunFailed(UserError):
    """A run cannot go on; another one of the same settings would not, either."""


@dataclass(frozen=True)
class TeachPrompt:
    """A prompt that a policy is trained on, as the policy is asked it."""

    prompt: PolicyPrompt
    asked: Asked


@dataclass(frozen=True)
class Run:
    """A run that trains a policy. temperature: of sampling."""

    method: Method
    steps: int
    prompts_per_step: int
    generations: int
    learning_rate: float
    kl: float
    seed: int
    temperature: float

    @property
    def saved_steps(self) -> list[int]:
        """Steps after which the policy is saved and measured, ascending; 0 is the initial policy."""
        return saved_steps(self.steps)


Rewards: TypeAlias = Callable[[Sequence[PolicyPrompt], Sequence[str]], list[float | None]]
"""What teaches: takes prompts and responses; a reward per response, None where there is none."""


@dataclass(frozen=True)
class Normalised:
    """Rewards less their mean over the initial policy's responses, divided by their standard deviation there.

    rewards: as they are. shift, scale: these statistics.
    """

    rewards: Rewards
    shift: float
    scale: float

    def __call__(self, prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[float | None]:
        """One reward per response, in their order."""
        found = self.rewards(prompts, texts)
        return [None if reward is None else (reward - self.shift) / self.scale for reward in found]


def statistics(rewards: Sequence[float], name: str) -> tuple[float, float]:
    """Shift and scale of a reward: mean, and sqrt(variance + 1e-8) with ddof 0, over the initial policy's responses.

    Raises UserError where there are fewer than two, or all are equal: nothing could be learned. name: for messages.
    """
    values = np.asarray(rewards, dtype=np.float64)
    if len(values) < 2 or float(np.ptp(values)) == 0:
        what = "are all equal" if len(values) > 1 else "are fewer than two"
        raise UserError(
            f"{name}: its rewards of the initial policy's responses {what}, so that nothing can be learned from it; "
            "take another reward, or more responses"
        )
    return float(values.mean()), math.sqrt(float(values.var()) + SCALE_EPSILON)


def saved_steps(steps: int) -> list[int]:
    """Steps after which the policy of a run of `steps` steps is saved: SHARES_SAVED of them, each once."""
    return sorted({round(share * steps) for share in SHARES_SAVED})


def rloo_advantages(rewards: torch.Tensor, kl: torch.Tensor, coefficient: float) -> torch.Tensor:
    """(prompts, generations) reward less the mean of the prompt's other responses, the KL penalty in the reward.

    rewards: (prompts, generations), NaN where there is none. kl: the same shape, log-probability less that of the
    initial policy, summed over tokens, in nats.
    """
    penalised = rewards - coefficient * kl
    known = ~torch.isnan(penalised)
    others = known.sum(dim=1, keepdim=True) - 1
    baseline = (torch.nansum(penalised, dim=1, keepdim=True) - penalised) / others
    return torch.nan_to_num(penalised - baseline, nan=0.0)


def grpo_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """(prompts, generations) reward less the prompt's mean, divided by its standard deviation (ddof 1) and epsilon.

    rewards: (prompts, generations), NaN where there is none. A prompt whose rewards differ by a thousandth gets
    advantages of full size: this scaling hides the variance of rewards.
    """
    centred = rewards - torch.nanmean(rewards, dim=1, keepdim=True)
    n = (~torch.isnan(rewards)).sum(dim=1, keepdim=True)
    deviation = torch.sqrt(torch.nansum(centred**2, dim=1, keepdim=True) / (n - 1))
    return torch.nan_to_num(centred / (deviation + GROUP_EPSILON), nan=0.0)


@dataclass(frozen=True)
class Batch:
    """Prompts and responses of a step as token ids, the responses to a prompt one after another."""

    prompts: tuple[tuple[int, ...], ...]
    responses: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TokenScores:
    """Of the tokens of a batch's responses, one response after the other: (n_tokens,) log-probabilities and entropies,
    in nats; and the responses that they are of, (n_tokens,) from 0."""

    logprobs: torch.Tensor
    entropies: torch.Tensor
    response: torch.Tensor

    def sums(self, values: torch.Tensor, n: int) -> torch.Tensor:
        """(n,) sum of values of tokens, (n_tokens,), over each of the n responses."""
        return torch.zeros(n, dtype=values.dtype, device=values.device).index_add(0, self.response, values)


def token_scores(model: PreTrainedModel, batch: Batch, temperature: float, n_vocabulary: int) -> TokenScores:
    """Log-probabilities of the responses under a model at a temperature, and the entropies of its distributions.

    n_vocabulary: rows of the vocabulary that count.
    """
    n_prompt, longest = (max(map(len, ids)) for ids in (batch.prompts, batch.responses))
    shape = len(batch.prompts), n_prompt + longest
    ids, seen = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    is_response = torch.zeros(shape, dtype=torch.bool)
    for row, (prompt, response) in enumerate(zip(batch.prompts, batch.responses, strict=True)):
        first, last = n_prompt - len(prompt), n_prompt + len(response)
        ids[row, first:last] = torch.tensor([*prompt, *response])
        seen[row, first:last] = 1
        is_response[row, n_prompt:last] = True
    device = model.device
    logits = model(
        input_ids=ids.to(device),
        attention_mask=seen.to(device),
        position_ids=(seen.cumsum(dim=1) - 1).clamp(min=0).to(device),
        use_cache=False,
        logits_to_keep=longest + 1,
    ).logits
    predicted = logits[:, -(longest + 1) : -1, :n_vocabulary][is_response[:, n_prompt:].to(device)]
    by_token = torch.log_softmax(predicted.float() / temperature, dim=-1)
    with torch.no_grad():
        entropies = -(by_token.exp() * by_token).sum(-1)
    logprobs = by_token.gather(-1, ids[is_response].to(device)[:, None]).squeeze(-1)
    return TokenScores(logprobs, entropies, is_response.nonzero()[:, 0].to(device))


def objective(
    method: Method, now: TokenScores, reference: torch.Tensor, rewards: torch.Tensor, coefficient: float
) -> torch.Tensor:
    """The loss of a step of RLOO or GRPO, a scalar: TRL's at the first pass over a batch.

    reference: (n_tokens,) log-probabilities under the initial policy. rewards: (prompts, generations), NaN where there
    is none.
    """
    before, n = now.logprobs.detach(), rewards.numel()
    if method == "rloo":
        kl = now.sums(before - reference, n).view(rewards.shape)
        advantages = rloo_advantages(rewards, kl, coefficient).flatten()
        ratio = torch.exp(now.sums(now.logprobs - before, n))
        return -(ratio * advantages).mean()
    advantages = grpo_advantages(rewards).flatten()[now.response]
    away = reference - now.logprobs
    penalty = torch.exp(away) - away - 1  # an estimate of the KL divergence that is never negative
    # The ratio makes the penalty's gradient that of the KL divergence itself.
    return (torch.exp(now.logprobs - before) * (coefficient * penalty - advantages)).mean()


def step_row(step: int, rewards: torch.Tensor, sampled: Sequence[Sampled]) -> dict[str, Any]:
    """Facts on the responses of a step, as in the contract policy_run_steps. rewards: (prompts, generations)."""
    known = rewards[~torch.isnan(rewards)]
    spread = [row[~torch.isnan(row)] for row in rewards]
    without = [len(row) < 2 or float(row.max() - row.min()) == 0 for row in spread]
    n_tokens = sum(len(one.token_ids) for one in sampled)
    return {
        "step": step,
        "proxy_reward": float(known.mean()),
        "n_tokens": n_tokens,
        "mean_length": n_tokens / len(sampled),
        "share_finished": sum(one.is_finished for one in sampled) / len(sampled),
        "share_groups_without_spread": sum(without) / len(without),
    }


def prompt_batches(prompts: Sequence[TeachPrompt], run: Run) -> Iterator[list[TeachPrompt]]:
    """The prompts of each step: pass after pass over all of them, each pass in another order by the seed."""

    def endless() -> Iterator[TeachPrompt]:
        number = 0
        while True:
            yield from random.Random(f"{run.seed}/{number}").sample(list(prompts), len(prompts))
            number += 1

    stream = endless()
    for _ in range(run.steps):
        yield list(islice(stream, run.prompts_per_step))


@dataclass(frozen=True)
class Policies:
    """The policy in training and the initial one. engine: samples from the former, whose weights it holds.

    n_vocabulary: rows of the vocabulary that count.
    """

    policy: PreTrainedModel
    initial: PreTrainedModel
    engine: SamplingEngine
    text: PolicyText
    n_vocabulary: int

    def scores(self, model: PreTrainedModel, batch: Batch) -> TokenScores:
        """Scores of a batch under one of the models."""
        return token_scores(model, batch, self.text.policy.temperature, self.n_vocabulary)


class Teaching:
    """A run of RLOO or GRPO on a small policy. folder: of its saved steps, from the newest of which it goes on.

    rewards: normalised.
    """

    def __init__(self, run: Run, policies: Policies, rewards: Rewards, folder: Path) -> None:
        self.run, self.policies, self.rewards, self.folder = run, policies, rewards, folder
        self.policy = policies.policy
        self.optimizer = torch.optim.AdamW(self.policy.parameters(), lr=run.learning_rate, weight_decay=0.0)
        self.rows: list[dict[str, Any]] = []

    def train(self, prompts: Sequence[TeachPrompt], say: Callable[[int], None]) -> list[dict[str, Any]]:
        """Train to the end; returns a row of policy_run_steps per step, without policy_run_id. say: takes each step.

        Raises RunFailed where the policy diverges, or no response of a step has a reward.
        """
        done = self._resume()
        for step, batch in enumerate(islice(prompt_batches(prompts, self.run), done, None), done + 1):
            self.rows.append(self._step(step, batch))
            if step in self.run.saved_steps:
                self._save(step)
            say(step)
        return self.rows

    def _step(self, step: int, prompts: Sequence[TeachPrompt]) -> dict[str, Any]:
        began, policies = time.perf_counter(), self.policies
        sampled = step_responses(policies.engine, prompts, self.run, step)
        named = [prompt for prompt in prompts for _ in range(self.run.generations)]
        texts = [policies.text.text(one.asked, said) for one, said in zip(named, sampled, strict=True)]
        rewards = as_groups(self.rewards([one.prompt for one in named], texts), self.run.generations, step)
        batch = Batch(
            tuple(tuple(one.asked.token_ids) for one in named), tuple(tuple(one.token_ids) for one in sampled)
        )
        with torch.no_grad():
            reference = policies.scores(policies.initial, batch).logprobs
        now = policies.scores(policies.policy, batch)
        loss = objective(self.run.method, now, reference, rewards.to(reference.device), self.run.kl)
        norm = take_step(self.policy, self.optimizer, loss, step)
        return step_row(step, rewards, sampled) | {
            "kl": float((now.logprobs.detach() - reference).sum()) / len(named),
            "entropy": float(now.entropies.mean()),
            "gradient_norm": norm,
            "seconds": time.perf_counter() - began,
        }

    def _save(self, step: int) -> None:
        """Policy and optimizer after a step; the optimizer's of earlier steps go."""
        with atomic_path(self.folder / str(step)) as beside:
            beside.mkdir(parents=True, exist_ok=True)
            self.policy.save_pretrained(beside)
            self.policies.text.tokenizer.save_pretrained(beside)
            save_file(self._moments(), beside / OPTIMIZER)
            (beside / ROWS).write_text(json.dumps(self.rows))
        for other in saved_folders(self.folder, self.run):
            if other != step:
                remove(self.folder / str(other) / OPTIMIZER)

    def _moments(self) -> dict[str, torch.Tensor]:
        states = (self.optimizer.state[weight] for weight in self.policy.parameters())
        return {f"{name}.{place}": state[name] for place, state in enumerate(states) for name in _MOMENTS}

    def _resume(self) -> int:
        """Go back to the newest saved step; returns it, 0 where there is none."""
        found = [
            step for step in saved_folders(self.folder, self.run) if (self.folder / str(step) / OPTIMIZER).exists()
        ]
        if not found:
            return 0
        place = self.folder / str(found[-1])
        weights = load_file(place / _WEIGHTS, device=str(self.policy.device))
        missing = self.policy.load_state_dict(weights, strict=False).missing_keys
        if tied := set(missing) - set(self.policy.all_tied_weights_keys):
            raise UserError(f"{place}: lacks the weights {sorted(tied)[0]}; remove the folder, and run this again")
        moments = load_file(place / OPTIMIZER)
        for number, weight in enumerate(self.policy.parameters()):
            self.optimizer.state[weight] = {name: moments[f"{name}.{number}"].to(weight.device) for name in _MOMENTS}
            self.optimizer.state[weight]["step"] = moments[f"step.{number}"]
        self.rows = json.loads((place / ROWS).read_text())
        return found[-1]


@dataclass(frozen=True)
class Best:
    """The best of the initial policy's responses to a prompt. has_spread: whether their rewards differ."""

    response: Sampled
    reward: float
    has_spread: bool


class Distillation(Teaching):
    """Fine-tuning on the best response to each prompt: the mean log-probability per token rises.

    best: by prompt_id; prompts without one are left out.
    """

    def __init__(self, run: Run, policies: Policies, rewards: Rewards, folder: Path, best: Mapping[str, Best]) -> None:
        super().__init__(run, policies, rewards, folder)
        self.best = best

    def train(self, prompts: Sequence[TeachPrompt], say: Callable[[int], None]) -> list[dict[str, Any]]:
        """As above, on the prompts with a best response. Raises RunFailed where there is none."""
        usable = [one for one in prompts if one.prompt.prompt_id in self.best]
        if not usable:
            raise RunFailed("no response of the initial policy to the prompts that are trained on has a reward")
        return super().train(usable, say)

    def _step(self, step: int, prompts: Sequence[TeachPrompt]) -> dict[str, Any]:
        began, policies = time.perf_counter(), self.policies
        best = [self.best[one.prompt.prompt_id] for one in prompts]
        sampled = [one.response for one in best]
        batch = Batch(
            tuple(tuple(one.asked.token_ids) for one in prompts), tuple(tuple(one.token_ids) for one in sampled)
        )
        with torch.no_grad():
            reference = policies.scores(policies.initial, batch).logprobs
        now = policies.scores(policies.policy, batch)
        norm = take_step(self.policy, self.optimizer, -now.logprobs.mean(), step)
        return step_row(step, torch.tensor([[one.reward] for one in best]), sampled) | {
            "kl": float((now.logprobs.detach() - reference).sum()) / len(best),
            "entropy": float(now.entropies.mean()),
            "gradient_norm": norm,
            "share_groups_without_spread": sum(not one.has_spread for one in best) / len(best),
            "seconds": time.perf_counter() - began,
        }


def take_step(policy: PreTrainedModel, optimizer: torch.optim.Optimizer, loss: torch.Tensor, step: int) -> float:
    """One step of the optimizer; returns the norm of the gradient. Raises RunFailed where it is not finite."""
    loss.backward()
    norm = float(torch.nn.utils.clip_grad_norm_(policy.parameters(), LARGEST_GRADIENT))
    if not math.isfinite(norm):
        raise RunFailed(f"the gradient of step {step} is not finite; lower the learning rate of `teach`")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


def as_groups(rewards: Sequence[float | None], generations: int, step: int) -> torch.Tensor:
    """(prompts, generations) rewards of a step, NaN where there is none. Raises RunFailed where all are missing."""
    found = torch.tensor([math.nan if one is None else one for one in rewards], dtype=torch.float32)
    if bool(torch.isnan(found).all()):
        raise RunFailed(
            f"no response of step {step} has a reward: the policy gives none that can be scored; look at its "
            "responses, or lower the learning rate of `teach`"
        )
    return found.view(-1, generations)


def step_responses(engine: SamplingEngine, prompts: Sequence[TeachPrompt], run: Run, step: int) -> list[Sampled]:
    """The responses of a step, those to a prompt one after another. Runs of one seed draw alike, whatever teaches."""
    requests = [
        Request(
            tuple(one.asked.token_ids), int(content_hash([run.seed, step, one.prompt.prompt_id, number], length=15), 16)
        )
        for one in prompts
        for number in range(run.generations)
    ]
    return engine.sampled(requests)


def saved_folders(folder: Path, run: Run) -> list[int]:
    """Saved steps of a run that are there, ascending."""
    return [step for step in run.saved_steps if (folder / str(step)).is_dir()]

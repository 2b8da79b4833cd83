"""Train a policy by a reward (RLOO, GRPO, or fine-tuning on the best of n), and measure it on the way.

After 25, 50, 75 and 100 % of the steps the policy is saved; later it responds to the prompts that are measured, as
often as in a step of the training, and its responses get the reward that taught it, all gold rewards that can be
computed, and the log-probability under the initial policy. Step 0 is the initial policy itself, with its own responses.
The end lies in `<home>/policies/<run id>/`; what was interrupted goes on from the newest saved step.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models_train.data.chat import Asked
from models_train.errors import UserError, close_match
from models_train.files import remove
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.sample_responses import policy_row, sampled_policy
from models_train.jobs.teacher_rewards import Rows, Teachers
from models_train.jobs.training_job import beside_others, locked
from models_train.logprobs.engine import Request as Document
from models_train.logprobs.engine import score
from models_train.logprobs.packed_engine import model_on_device, packed_engine, rows_that_count
from models_train.metering import Meter, default_device, measure
from models_train.modeling.base_models import ModelSource, load_config, load_tokenizer
from models_train.parts import content_hash, is_whole, part_path, part_rows, renew_run, write_part
from models_train.policies.prompts import PolicyPrompt, load_prompts
from models_train.policies.sampling import (
    OK,
    PolicyText,
    Request,
    Sampled,
    SamplingEngine,
    TransformersEngine,
    policy_source,
    sampled_rows,
)
from models_train.policies.teaching import (
    MOST_PARAMETERS,
    OPTIMIZER,
    ROWS,
    Best,
    Distillation,
    Normalised,
    Policies,
    Run,
    RunFailed,
    Teaching,
    TeachPrompt,
    statistics,
)
from models_train.policies.trl_teaching import CHECKPOINT, TrlTeaching
from models_train.reward_models.model import REWARD
from models_train.reward_models.scoring import TOKENS_PER_PACK
from models_train.store import parts_of
from models_train.study.policy_runs import (
    PolicyRun,
    ensembles_by_id,
    lab_golds,
    policy_run_id,
    policy_runs,
    teacher_run_id,
)
from models_train.study.response_ids import response_rewards_run_id
from models_train.study.response_parts import TRAINED, Responses, responses_of, saved_policy_id
from models_train.study.reward_ids import source_run_id
from models_train.study.study import Study
from models_train.study.teachers import Method, Policy, Teach
from warehouse.contracts import TABLES, Table
from warehouse.contracts.responses import (
    POLICIES,
    POLICY_RUN_POLICIES,
    POLICY_RUN_STEPS,
    POLICY_RUNS,
    RESPONSE_REWARDS,
    RESPONSES,
)
from warehouse.contracts.scores import REWARD_SOURCES

JOB = "teach_policy"
RUN_COSTS = TABLES["run_costs"]
OF_RUN = (POLICY_RUNS, POLICY_RUN_POLICIES, RUN_COSTS)
"""Tables that a run has a part in, beside its steps, where it took any, and those of its saved policies."""

STATE = (OPTIMIZER, ROWS, "optimizer.pt", "scheduler.pt", "rng_state*.pth", "trainer_state.json", "training_args.bin")
"""Files of a saved step, of this project and of TRL, that only its training reads."""


def run(
    path: Path, policy_id: str, reward_id: str, method: Method, seed: int, home: Path, report: Reporter
) -> dict[str, Any]:
    """Train and measure what is left; returns figures. Raises UserError, OSError."""
    study, policy = sampled_policy(path, policy_id, home)
    wanted = PolicyRun(policy_id, reward_id, method, seed)
    _refuse_unlisted(study, path, wanted)
    return TeachJob(study, policy, wanted, path, home, report).run()


def _refuse_unlisted(study: Study, path: Path, wanted: PolicyRun) -> None:
    listed = policy_runs(study)
    if not listed:
        raise UserError(f"{path}: the study trains no policies; add `teach` to the group teachers")
    for name in ("policy_id", "reward_id", "method", "seed"):
        known = list(dict.fromkeys(str(getattr(one, name)) for one in listed))
        value = str(getattr(wanted, name))
        if value not in known:
            raise UserError(
                f"{path}: teachers.teach has no {name} {value!r}; {close_match(value, known, 'listed are', most=12)}"
            )


@dataclass(frozen=True)
class Saved:
    """A policy that a run saved, and the run id of its responses."""

    step: int
    policy_id: str
    run_id: str


@dataclass
class TeachJob:
    """A policy run. study: with the commit of its prompts. policy: at its commit."""

    study: Study
    policy: Policy
    wanted: PolicyRun
    path: Path
    home: Path
    report: Reporter

    def run(self) -> dict[str, Any]:
        """Train and measure what is left; returns figures."""
        if all(is_whole(self._part(table, self.run_id)) for table in OF_RUN):
            self._say("the run is there; nothing to do")
            for table in (*OF_RUN, POLICY_RUN_STEPS):
                renew_run(parts_of(self.home), table.name, self.study.study_id, self.run_id)
            return self._figures()
        other = f"{self._name}: another process trains this policy"
        with locked(self._folder, other), beside_others(self.home, self._say), measure(default_device()) as meter:
            shift, scale = statistics(list(self.teachers.stored(self.wanted.reward_id).values()), self._name)
            rewards = Normalised(self.teachers.load(self.wanted.reward_id), shift, scale)
            rows, reason = self._trained(rewards)
            measured = [] if reason else [one for one in self._saved if one.step > 0]
            for one in measured:
                self._measure(one, meter)
            self._write(rows, reason, rewards, meter)
        remove(self._folder)
        return self._figures()

    @property
    def _name(self) -> str:
        return self.wanted.name

    def _say(self, text: str) -> None:
        self.report.say(f"{self._name}: {text}")

    def _part(self, table: Table, run_id: str) -> Any:
        return part_path(parts_of(self.home), table.name, self.study.study_id, run_id)

    @property
    def _teach(self) -> Teach:
        assert self.study.teachers is not None and self.study.teachers.teach is not None
        return self.study.teachers.teach

    @property
    def _folder(self) -> Path:
        return self.home / "policy_runs" / self.run_id

    @property
    def _end(self) -> Path:
        return self.home / "policies" / self.run_id

    @cached_property
    def prompts(self) -> tuple[PolicyPrompt, ...]:
        """The prompts of the study. Raises UserError where none is to be trained on."""
        found = load_prompts(self.study, self.path.parent).prompts
        if all(one.split != "teach" for one in found):
            raise UserError(f"{self.path}: no prompt has the split teach; add `teach` to teachers.prompts")
        return found

    @cached_property
    def initial(self) -> Responses:
        """Responses of the initial policy. Raises UserError where there are none."""
        for one in responses_of(parts_of(self.home), self.study):
            if (one.policy_id, one.prompt_set) == (self.policy.policy_id, self.prompts[0].prompt_set):
                return one
        raise UserError(
            f"{self._name}: the responses of {self.policy.policy_id} are not there, and rewards are scaled by them; "
            "run `make run`, which samples and scores them, then this again"
        )

    @cached_property
    def run_id(self) -> str:
        """Run id of the policy run."""
        return policy_run_id(self.study, self.wanted, self.initial.run_id, self.path.parent)

    @cached_property
    def teachers(self) -> Teachers:
        """What teaches and judges."""
        responses = part_rows(self._part(RESPONSES, self.initial.run_id))
        prompts = {one.prompt_id: one for one in self.prompts}
        return Teachers(self.study, self.path, self.home, self.policy.policy_id, prompts, responses)

    @cached_property
    def _source(self) -> ModelSource:
        return policy_source(self.policy, self.study, self.path.parent)

    @cached_property
    def _text(self) -> PolicyText:
        # The gradient of a reward needs samples of the whole distribution.
        whole = self.policy.model_copy(update={"top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0})
        return PolicyText(whole, load_tokenizer(self._source), load_config(self._source))

    @cached_property
    def _plan(self) -> Run:
        teach = self._teach
        return Run(
            self.wanted.method,
            teach.steps,
            teach.prompts_per_step,
            teach.generations,
            teach.learning_rate,
            teach.kl,
            self.wanted.seed,
            self.policy.temperature,
        )

    @property
    def _saved(self) -> list[Saved]:
        """The saved policies; step 0 is the initial one."""
        own = [
            Saved(step, saved_policy_id(self.run_id, step), content_hash({"run": self.run_id, "step": step}))
            for step in self._plan.saved_steps[1:]
        ]
        return [Saved(0, self.policy.policy_id, self.initial.run_id), *own]

    def _trained(self, rewards: Normalised) -> tuple[Rows, str | None]:
        """Rows of the steps, and the reason why the run failed; what was trained before is read."""
        prompts = [
            TeachPrompt(one, asked)
            for one in self.prompts
            if one.split == "teach" and isinstance(asked := self._text.ask(one), Asked)
        ]
        if not prompts:
            raise UserError(f"{self._name}: none of the prompts to be trained on can be asked; give shorter ones")
        with progress(self.report, f"{self._name}: steps", self._plan.steps) as counter:

            def say(step: int) -> None:
                counter.advance(step - counter.done)

            teaching = self._teaching(rewards, prompts)
            try:
                return teaching.train(prompts, say), None
            except RunFailed as failure:
                self._say(f"failed: {failure}")
                return teaching.rows, str(failure)
            finally:
                gc.collect()

    def _teaching(self, rewards: Normalised, prompts: Sequence[TeachPrompt]) -> Teaching | TrlTeaching:
        trained = self._loaded(self._source)
        n_parameters = sum(one.numel() for one in trained.parameters())
        is_small = n_parameters <= MOST_PARAMETERS
        if not is_small and self.wanted.method != "best_of_n_distill":
            self._say(f"TRL trains it, {n_parameters / 1e6:,.0f} million parameters")
            return TrlTeaching(self._plan, self._source.place, self._text, rewards, self._folder)
        engine, n_vocabulary = self._engine(trained, self._text)
        policies = Policies(trained, self._loaded(self._source), engine, self._text, n_vocabulary)
        if self.wanted.method == "best_of_n_distill":
            return Distillation(self._plan, policies, rewards, self._folder, self._best(prompts, rewards))
        return Teaching(self._plan, policies, rewards, self._folder)

    def _loaded(self, source: ModelSource) -> Any:
        return model_on_device(source, torch.float32)

    def _engine(self, model: Any, text: PolicyText) -> tuple[TransformersEngine, int]:
        n_vocabulary = rows_that_count(model, text.largest_token_id)
        return TransformersEngine(model, text.policy, text.ends(self._source), n_vocabulary), n_vocabulary

    def _best(self, prompts: Sequence[TeachPrompt], rewards: Normalised) -> dict[str, Best]:
        """The best of the initial policy's responses to each prompt. Raises UserError where there are none."""
        by_prompt: dict[str, Rows] = {}
        for row in self.teachers.responses:
            if row["status"] == OK:
                by_prompt.setdefault(row["prompt_id"], []).append(row)
        missing = [one.prompt.prompt_id for one in prompts if one.prompt.prompt_id not in by_prompt]
        if len(missing) == len(prompts):
            raise UserError(
                f"{self._name}: {self.policy.policy_id} has no responses to the prompts that are trained on; sample "
                "them again (`make run`)"
            )
        found = {}
        for one in prompts:
            rows = by_prompt.get(one.prompt.prompt_id, [])
            given = rewards([one.prompt] * len(rows), [row["text"] for row in rows])
            known = [(reward, row) for reward, row in zip(given, rows, strict=True) if reward is not None]
            if known:
                best, row = max(known, key=lambda pair: pair[0])
                spread = best - min(reward for reward, _ in known)
                found[one.prompt.prompt_id] = Best(self._as_sampled(one, row), best, spread > 0)
        return found

    def _as_sampled(self, one: TeachPrompt, row: dict[str, Any]) -> Sampled:
        """A stored response as token ids, its end with it where it has one."""
        ids = self._text.tokenizer(one.asked.lead + row["text"], add_special_tokens=False)["input_ids"]
        is_finished = row["finish_reason"] == "stop"
        end = one.asked.end_id if one.asked.end_id is not None else self._text.tokenizer.eos_token_id
        return Sampled([*ids, end] if is_finished and end is not None else ids, [], is_finished)

    def _measure(self, one: Saved, meter: Meter) -> None:
        """Responses of a saved policy and their rewards, as parts; nothing where they are there."""
        judges = [self.wanted.reward_id, *(name for name in self._golds if name != self.wanted.reward_id)]
        of_rewards = {name: self._rewards_run_id(name, one) for name in judges}
        if all(is_whole(self._part(RESPONSE_REWARDS, run_id)) for run_id in of_rewards.values()):
            return
        source = ModelSource(one.policy_id, str(self._place(one.step)))
        policy = self.policy.model_copy(update={"policy_id": one.policy_id, "seed": self.wanted.seed})
        text = PolicyText(policy, load_tokenizer(self._source), load_config(self._source))
        engine = Recording(self._engine(self._loaded(source), text)[0])
        asked = [prompt for prompt in self.prompts if prompt.split == "measure"]
        rows = sampled_rows(engine, text, asked, range(self._plan.generations))
        self._add_references(rows, engine)
        meter.add_tokens(sum(row["n_tokens"] or 0 for row in rows))
        self._put(POLICIES, [self._policy_row(one, policy, text)], one.run_id)
        self._put(RESPONSES, rows, one.run_id)
        for name, run_id in of_rewards.items():
            self._put(RESPONSE_REWARDS, self.teachers.load(name).rows(rows, self.teachers.prompts), run_id)

    @property
    def _golds(self) -> list[str]:
        """Gold rewards that new responses can be given."""
        assert self.study.teachers is not None
        of_lab = lab_golds(self.study)
        golds = self.study.teachers.gold
        return [one.name if one.lab else str(one.reward) for one in golds if one.name in of_lab or one.reward]

    def _rewards_run_id(self, reward_id: str, one: Saved) -> str:
        return response_rewards_run_id(teacher_run_id(self.study, reward_id, self.path.parent), one.run_id)

    def _keep_end(self) -> None:
        """Move the policy at the end of the run to its place, without the state of its training."""
        remove(self._end)
        self._end.parent.mkdir(parents=True, exist_ok=True)
        self._place(self._plan.steps).rename(self._end)
        for name in STATE:
            for file in self._end.glob(name):
                remove(file)

    def _place(self, step: int) -> Path:
        """Folder that the policy was saved in after a step."""
        by_trl = self._folder / f"{CHECKPOINT}{step}"
        return by_trl if by_trl.exists() else self._folder / str(step)

    @cached_property
    def _reference(self) -> Any:
        """The packed engine of the initial policy."""
        model, text = self._loaded(self._source), self._text
        tokens = TOKENS_PER_PACK.get(model.device.type, TOKENS_PER_PACK["cpu"])
        return packed_engine(self.policy.policy_id, model, text.largest_token_id, tokens, standardise=False)

    def _add_references(self, rows: Rows, engine: Recording) -> None:
        """Set the log-probabilities of sampled responses under the initial policy."""
        documents = [
            Document(str(number), np.array([*request.token_ids, *said.token_ids]))
            for number, (request, said) in enumerate(engine.found)
        ]
        scores = iter(zip(engine.found, score(self._reference, documents), strict=True))
        for row in rows:
            if row["n_tokens"] is not None:
                (_, said), found = next(scores)
                known = found.logprobs[-len(said.token_ids) :]
                row["reference_logprob"] = float(known.sum(dtype=np.float64)) if found.status == OK else None

    def _policy_row(self, one: Saved, policy: Policy, text: PolicyText) -> dict[str, Any]:
        described = policy_row(policy, self.study, text.prompt_format, "transformers")
        return described | {"kind": TRAINED, "parent_policy_id": self.policy.policy_id}

    def _put(self, table: Table, rows: Rows, run_id: str) -> None:
        write_part(parts_of(self.home), table, rows, study_id=self.study.study_id, run_id=run_id)

    def _write(self, rows: Rows, reason: str | None, rewards: Normalised, meter: Meter) -> None:
        """Write the parts of the run, that of the run itself last; the policy at its end is kept."""
        if reason is None:
            self._keep_end()
        self._keep_ensemble()
        plan, own = self._plan, {"policy_run_id": self.run_id}
        saved = self._saved if reason is None else self._saved[:1]
        is_distilled = plan.method == "best_of_n_distill"
        n_prompts = plan.prompts_per_step * len(rows)
        settings = self._teach.model_dump(mode="json", exclude={"method", "policies", "rewards", "seeds"})
        seconds = sum(row["seconds"] for row in rows)
        described = own | {
            "policy_id": self.policy.policy_id,
            "reward_id": self.wanted.reward_id,
            "method": plan.method,
            "settings": json.dumps(settings, sort_keys=True),
            "seed": plan.seed,
            "n_steps_planned": plan.steps,
            "n_steps": len(rows),
            "n_prompts": n_prompts,
            "n_responses": n_prompts * (1 if is_distilled else plan.generations),
            "reward_shift": rewards.shift,
            "reward_scale": rewards.scale,
            "kl_coefficient": 0.0 if is_distilled else plan.kl,
            "final_policy_id": saved[-1].policy_id if reason is None else None,
            "device_seconds": seconds,
            "status": "finished" if reason is None else "failed",
            "reason": reason,
        }
        policies = [
            own | {"step": one.step, "share_done": one.step / plan.steps, "policy_id": one.policy_id} for one in saved
        ]
        meter.add_tokens(sum(row["n_tokens"] for row in rows))
        costs = replace(meter.costs, device_seconds=max(meter.costs.device_seconds, seconds))
        if rows:
            self._put(POLICY_RUN_STEPS, [own | row for row in rows], self.run_id)
        self._put(POLICY_RUN_POLICIES, policies, self.run_id)
        self._put(RUN_COSTS, [costs.row(self.policy.policy_id, JOB, self.wanted.variant)], self.run_id)
        self._put(POLICY_RUNS, [described], self.run_id)

    def _keep_ensemble(self) -> None:
        """Write the source of an ensemble that teaches, and its rewards of the initial policy's responses."""
        reward_id = self.wanted.reward_id
        if reward_id not in ensembles_by_id(self.study):
            return
        source: dict[str, Any] = dict.fromkeys(REWARD_SOURCES.filled_columns.names)
        source |= {"reward_id": reward_id, "kind": "ensemble", "scale": "logit"}
        own: dict[str, Any] = {"reward_id": reward_id, "policy_id": self.policy.policy_id}
        own |= {"prompt_set": self.prompts[0].prompt_set}
        own |= {"attribute": REWARD, "n_tokens": None, "is_truncated": False, "status": OK}
        rewards = [
            own | {"prompt_id": prompt_id, "response_no": number, "reward": reward}
            for (prompt_id, number), reward in self.teachers.stored(reward_id).items()
        ]
        self._put(REWARD_SOURCES, [source], source_run_id(source))
        self._put(RESPONSE_REWARDS, rewards, self._rewards_run_id(reward_id, self._saved[0]))

    def _figures(self) -> dict[str, Any]:
        (row,) = part_rows(self._part(POLICY_RUNS, self.run_id))
        names = ("status", "reason", "n_steps", "n_responses", "final_policy_id")
        figures = {name.replace("_", " "): row[name] for name in names if row[name] is not None}
        return figures | {"device seconds": round(row["device_seconds"], 1)}


class Recording:
    """An engine that keeps what it was asked and what it sampled; a `SamplingEngine`."""

    def __init__(self, engine: SamplingEngine) -> None:
        self._engine = engine
        self.found: list[tuple[Request, Sampled]] = []

    @property
    def name(self) -> str:
        """Name of the engine in the settings."""
        return self._engine.name

    @property
    def n_at_once(self) -> int:
        """Responses that are best asked for together."""
        return self._engine.n_at_once

    @property
    def n_vocabulary(self) -> int:
        """Rows of the vocabulary that count."""
        return self._engine.n_vocabulary

    def sampled(self, requests: Sequence[Request]) -> list[Sampled]:
        """The responses, in the order of the requests."""
        found = self._engine.sampled(requests)
        self.found += zip(requests, found, strict=True)
        return found


main = partial(run_job, JOB)

if __name__ == "__main__":
    main()

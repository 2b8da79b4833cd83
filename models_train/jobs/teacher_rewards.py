"""What teaches a policy: reward models through the renderer and packs that they are scored by, the lab's truth, and
means of reward models.

A reward model of several attributes teaches by its merged reward. Its rows of `response_rewards` are those that it
would have by `score_responses`: equal responses to a prompt are scored once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models_train.data.chat import Renderer
from models_train.errors import UserError
from models_train.jobs.response_scoring import as_items, as_rows, attributes_of
from models_train.jobs.score_completions import load_trained
from models_train.jobs.training_job import at_commit, training_job
from models_train.metering import default_device
from models_train.parts import newest_runs, part_path, read_table
from models_train.policies.prompts import PolicyPrompt
from models_train.reward_models.existing import load_existing
from models_train.reward_models.scoring import Scorer, score_items
from models_train.store import parts_of
from models_train.study.golds import FLAT
from models_train.study.policy_runs import ensembles_by_id, lab_golds, teacher_run_id
from models_train.study.response_parts import without_text
from models_train.study.reward_ids import trained_by_id
from models_train.study.study import Study
from models_train.synthetic.grade import flat_utility, true_utility
from models_train.synthetic.preferences import graded_question
from warehouse.contracts.responses import OK, RESPONSE_KEY, RESPONSE_REWARDS
from warehouse.contracts.scores import MERGED, REWARD

Rows = list[dict[str, Any]]
Stored = Mapping[tuple[str, int], float]
"""Rewards of a policy's responses, by prompt_id and response_no."""


class Teacher(Protocol):
    """A reward of any response to the prompts of a study."""

    @property
    def reward_id(self) -> str:
        """Its name."""

    def __call__(self, prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[float | None]:
        """One reward per response, in their order; None where there is none, as for an empty one."""

    def rows(self, responses: Rows, prompts: Mapping[str, PolicyPrompt]) -> Rows:
        """Rows of response_rewards for rows of responses. prompts: by prompt_id."""


@dataclass(frozen=True)
class ModelTeacher:
    """A reward model. tokens_per_pack: None for the default of its device."""

    reward_id: str
    reward_model: Scorer
    renderer: Renderer
    tokens_per_pack: int | None = None

    def __call__(self, prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[float | None]:
        """One reward per response, in their order."""
        key = {"policy_id": "", "prompt_set": "", "status": OK}
        responses = [
            key | {"prompt_id": prompt.prompt_id, "response_no": number, "text": text}
            for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True))
        ]
        rows = self.rows(responses, {one.prompt_id: one for one in prompts})
        *_, decides = attributes_of(self.reward_model)
        found = {row["response_no"]: row["reward"] for row in rows if row["attribute"] == decides}
        return [found[number] for number in range(len(texts))]

    def rows(self, responses: Rows, prompts: Mapping[str, PolicyPrompt]) -> Rows:
        """Rows of response_rewards for rows of responses."""
        items, places = as_items(responses, {name: one.turns for name, one in prompts.items()})
        weights = self.reward_model.merge_weights
        found = score_items(self.reward_model, self.renderer, items, weights, self.tokens_per_pack)
        return as_rows(self.reward_id, attributes_of(self.reward_model), responses, found, places)


@dataclass(frozen=True)
class FunctionTeacher:
    """A reward that is computed from prompts and texts. function: takes lists of both."""

    reward_id: str
    function: Callable[[Sequence[PolicyPrompt], Sequence[str]], list[float | None]]

    def __call__(self, prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[float | None]:
        """One reward per response, in their order."""
        found = self.function(prompts, texts)
        return [reward if text.strip() else None for reward, text in zip(found, texts, strict=True)]

    def rows(self, responses: Rows, prompts: Mapping[str, PolicyPrompt]) -> Rows:
        """Rows of response_rewards for rows of responses."""
        asked = [prompts[row["prompt_id"]] for row in responses]
        rewards = self(asked, [row["text"] if row["status"] == OK else "" for row in responses])
        return [
            {name: row[name] for name in RESPONSE_KEY}
            | {"reward_id": self.reward_id, "attribute": REWARD, "reward": reward, "n_tokens": None}
            | {"is_truncated": False, "status": _status(row, reward)}
            for row, reward in zip(responses, rewards, strict=True)
        ]


def _status(row: Mapping[str, Any], reward: float | None) -> str:
    return OK if reward is not None else without_text(row) or "no reward"


@dataclass(frozen=True)
class Mean:
    """The mean of rewards, each less its mean over the initial policy's responses, divided by its standard deviation
    there (ddof 1). scales: these two by member."""

    scales: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, reward_id: str, stored: Mapping[str, Stored]) -> Mean:
        """stored: rewards of these responses by member. Raises UserError where a member's do not vary."""
        scales = {}
        for name, rewards in stored.items():
            values = np.array(list(rewards.values()))
            if len(values) < 2 or float(np.ptp(values)) == 0:
                raise UserError(f"{reward_id}: the rewards of its member {name} do not vary; take another member")
            scales[name] = float(values.mean()), float(values.std(ddof=1))
        return cls(scales)

    def __call__(self, rewards: Mapping[str, float | None]) -> float | None:
        """The mean of a response's rewards, by member; None where one is missing."""
        scaled = [
            None if (reward := rewards.get(name)) is None else (reward - shift) / scale
            for name, (shift, scale) in self.scales.items()
        ]
        return None if None in scaled else float(np.mean(np.array(scaled, dtype=np.float64)))


def mean_teacher(reward_id: str, members: Sequence[Teacher], mean: Mean) -> FunctionTeacher:
    """The mean of rewards as a teacher."""

    def means(prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[float | None]:
        columns = {one.reward_id: one(prompts, texts) for one in members}
        return [mean({name: column[place] for name, column in columns.items()}) for place in range(len(texts))]

    return FunctionTeacher(reward_id, means)


def lab_truth(prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[float | None]:
    """True utilities of responses to the lab's questions."""
    return [true_utility(graded_question(one.gold or ""), text) for one, text in zip(prompts, texts, strict=True)]


def flat_truth(prompts: Sequence[PolicyPrompt], texts: Sequence[str], seed: int) -> list[float | None]:
    """The same, with almost no spread on half of the prompts."""
    found = lab_truth(prompts, texts)
    return [
        None if utility is None else flat_utility(utility, one.prompt_id, seed)
        for one, utility in zip(prompts, found, strict=True)
    ]


@dataclass
class Teachers:
    """Loads what teaches in a study. path: the study file.

    policy_id, prompts: the initial policy and all prompts of its set; its stored rewards give the scales.
    """

    study: Study
    path: Path
    home: Path
    policy_id: str
    prompts: Mapping[str, PolicyPrompt]
    responses: Rows
    _loaded: dict[str, Teacher] = field(default_factory=dict)

    def load(self, reward_id: str) -> Teacher:
        """A teacher by name, loaded once. Raises UserError for one that is not trained, or that the study lacks."""
        if reward_id not in self._loaded:
            self._loaded[reward_id] = self._load(reward_id)
        return self._loaded[reward_id]

    def _load(self, reward_id: str) -> Teacher:
        teacher_run_id(self.study, reward_id, self.path.parent)  # refuses unknown names
        if one := trained_by_id(self.study).get(reward_id):
            job = training_job(self.path, one.model_id, one.objective, self.home)
            job = job if one.seed is None else job.of_seed(one.seed)
            return ModelTeacher(reward_id, *load_trained(job), job.training.tokens_per_pack)
        if reward_id in lab_golds(self.study):
            assert self.study.lab is not None
            is_flat = reward_id.endswith(FLAT) and lab_golds(self.study)[reward_id].name != reward_id
            return FunctionTeacher(reward_id, partial(flat_truth, seed=self.study.lab.seed) if is_flat else lab_truth)
        if ensemble := ensembles_by_id(self.study).get(reward_id):
            members = [self.load(one) for one in sorted(ensemble.members or ())]
            return mean_teacher(reward_id, members, self._mean(reward_id))
        (scored,) = (one for one in self.study.reward_models if one.reward_id == reward_id)
        reward_model, renderer = load_existing(at_commit(scored, reward_id, self.path, self.home), self.path.parent)
        return ModelTeacher(reward_id, reward_model.to(default_device()), renderer)

    def stored(self, reward_id: str) -> Stored:
        """Rewards of the initial policy's responses to the prompts that are measured; computed where none are stored.

        Raises UserError for a reward model that has not scored them.
        """
        rows = self._stored_rows(reward_id)
        if rows is None and reward_id in ensembles_by_id(self.study):
            mean, by_member = self._mean(reward_id), self._of_members(reward_id)
            together = set.intersection(*(set(rewards) for rewards in by_member.values()))
            means = {one: mean({name: rewards[one] for name, rewards in by_member.items()}) for one in sorted(together)}
            return {one: value for one, value in means.items() if value is not None}
        if rows is None:
            teacher = self.load(reward_id)
            if isinstance(teacher, ModelTeacher):
                raise UserError(
                    f"{reward_id}: its rewards of the responses of {self.policy_id} are not there; run `make run`, "
                    "which scores them, then this again"
                )
            rows = teacher.rows(self.responses, self.prompts)
        decides = MERGED if any(row["attribute"] == MERGED for row in rows) else REWARD
        return {
            (row["prompt_id"], row["response_no"]): row["reward"]
            for row in rows
            if row["attribute"] == decides and row["status"] == OK and self._is_measured(row["prompt_id"])
        }

    def _of_members(self, reward_id: str) -> dict[str, Stored]:
        members = ensembles_by_id(self.study)[reward_id].members or ()
        return {one: self.stored(one) for one in sorted(members)}

    def _mean(self, reward_id: str) -> Mean:
        return Mean.of(reward_id, self._of_members(reward_id))

    def _is_measured(self, prompt_id: str) -> bool:
        prompt = self.prompts.get(prompt_id)
        return prompt is not None and prompt.split == "measure"

    def _stored_rows(self, reward_id: str) -> Rows | None:
        """Rows of the newest part of a reward's rewards of the initial policy's responses; None where there is none."""
        parts, study_id = parts_of(self.home), self.study.study_id
        prompt_set = next(iter(self.prompts.values())).prompt_set
        wanted = {"study_id": study_id, "reward_id": reward_id, "policy_id": self.policy_id, "prompt_set": prompt_set}
        for partition, run_id in newest_runs(parts, RESPONSE_REWARDS, study_id):
            if all(partition.get(name, value) == value for name, value in wanted.items()):
                columns = ["prompt_id", "response_no", "attribute", "reward", "status"]
                rows: Rows = read_table(part_path(parts, RESPONSE_REWARDS.name, study_id, run_id), columns).to_pylist()
                return rows
        return None

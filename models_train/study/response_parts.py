"""Responses of policies that are there, and the reward models that score them. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_train.parts import newest_runs, part_path, part_rows
from models_train.store import Parts
from models_train.study.response_ids import response_rewards_run_id
from models_train.study.study import Study
from models_train.study.teachers import Method
from warehouse.contracts.responses import EMPTY, OK, PROMPTS, RESPONSES

DISTILL: Method = "best_of_n_distill"
OF_RESPONSES = "responses of "
"""Beginning of the variant of costs of scoring responses; else it is a benchmark's."""
TRAINED = "trained"
"""Kind of the policies that policy runs saved: the runs score their responses themselves."""
_OF_RUNS = "run:"
"""Beginning of the names of these policies."""


@dataclass(frozen=True, order=True)
class Responses:
    """Responses of a policy to a prompt set, and their run id."""

    policy_id: str
    prompt_set: str
    run_id: str

    @property
    def name(self) -> str:
        """Policy and prompt set, for messages and as the variant of costs."""
        return f"{OF_RESPONSES}{self.policy_id} to {self.prompt_set}"


def responses_of(parts: Parts, study: Study) -> list[Responses]:
    """Responses of the study's policies, sampled here or imported, in the order of their names."""
    if study.teachers is None:
        return []
    return sorted(
        Responses(partition["policy_id"], partition["prompt_set"], run_id)
        for partition, run_id in newest_runs(parts, RESPONSES, study.study_id)
        if not is_of_run(study, partition["policy_id"])
    )


def saved_policy_id(run_id: str, step: int) -> str:
    """Name of the policy that a policy run saved after a step."""
    return f"{_OF_RUNS}{run_id}@{step}"


def is_of_run(study: Study, policy_id: str) -> bool:
    """Whether a policy run saved a policy, by its name: reading what each policy is would cost a request per part."""
    teachers = study.teachers
    is_named = teachers is not None and (
        any(one.policy_id == policy_id for one in teachers.policies)
        or any(one.has_policy(policy_id) for one in teachers.responses)
    )
    return policy_id.startswith(_OF_RUNS) and not is_named


def without_text(response: Mapping[str, Any]) -> str | None:
    """Status of the rewards of a response without text, or that was not sampled well; None for any other.

    response: a row of the contract.
    """
    if response["status"] != OK:
        return str(response["status"])
    return None if response["text"].strip() else EMPTY


def prompt_rows(parts: Parts, study: Study, prompt_set: str) -> list[dict[str, Any]]:
    """Rows of a prompt set, as they were recorded with the responses."""
    found = [
        run for partition, run in newest_runs(parts, PROMPTS, study.study_id) if partition["prompt_set"] == prompt_set
    ]
    return [row for run_id in found for row in part_rows(part_path(parts, PROMPTS.name, study.study_id, run_id))]


def is_teach_scored(study: Study) -> bool:
    """Whether responses to the prompts that policies are trained on are scored, too: for the best of them."""
    teach = study.teachers.teach if study.teachers else None
    return teach is not None and DISTILL in teach.method


def rewards_run_id(study: Study, reward: str, responses: Responses) -> str:
    """Run id of the rewards of responses. reward: run id of the reward model."""
    return response_rewards_run_id(reward, responses.run_id + (":teach" if is_teach_scored(study) else ""))


def scores_responses(study: Study, reward_id: str) -> bool:
    """Whether a reward model of the study scores responses: all do, unless the study names some. Those that are gold
    rewards, or that one may be chosen of, do so in any case, and those that teach or are in an ensemble."""
    teachers = study.teachers
    if teachers is None:
        return False
    named = {*(teachers.rewards or ()), *(gold.reward for gold in teachers.gold)}
    named |= {member for one in teachers.ensembles for member in one.members or ()}
    if teachers.teach is not None:
        named |= {*(teachers.teach.rewards or (reward_id,))}
    return teachers.rewards is None or reward_id in named or any(gold.strongest for gold in teachers.gold)

"""The policy runs of a study: which policy is trained by which reward, by which method and seed. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models_train.errors import UserError, close_match
from models_train.parts import content_hash
from models_train.study.fingerprints import lab_run_id, scored_run_id, trained_run_ids
from models_train.study.response_ids import teach_run_id
from models_train.study.reward_ids import trained_by_id
from models_train.study.study import Study
from models_train.study.teachers import Ensemble, Gold, Method


@dataclass(frozen=True, order=True)
class PolicyRun:
    """A policy that is trained by a reward."""

    policy_id: str
    reward_id: str
    method: Method
    seed: int

    @property
    def name(self) -> str:
        """For partitions and messages, such as `tulu/gold/rloo/s0`."""
        return f"{self.policy_id}/{self.variant}"

    @property
    def variant(self) -> str:
        """Variant of its costs: all but the policy."""
        return f"{self.reward_id}/{self.method}/s{self.seed}"


def policy_runs(study: Study) -> list[PolicyRun]:
    """All policy runs of a study, in the order of its policies and rewards."""
    teachers = study.teachers
    if teachers is None or teachers.teach is None:
        return []
    teach = teachers.teach
    policies = teach.policies or tuple(one.policy_id for one in teachers.policies)
    rewards = teach.rewards or (*reward_model_ids(study), *(gold.name for gold in teachers.gold if gold.lab))
    return [
        PolicyRun(policy, reward, method, seed)
        for policy in policies
        for reward in rewards
        for method in teach.method
        for seed in teach.seeds
    ]


def reward_model_ids(study: Study) -> list[str]:
    """reward_ids of the reward models that a study trains or scores."""
    return [*trained_by_id(study), *(one.reward_id for one in study.reward_models)]


def ensembles_by_id(study: Study) -> dict[str, Ensemble]:
    """The ensembles that a study names the members of, by the reward_id of their mean."""
    teachers = study.teachers
    named = [one for one in teachers.ensembles if one.members] if teachers else []
    return {f"ensemble:{one.over}/{'+'.join(sorted(one.members or ()))}": one for one in named}


def lab_golds(study: Study) -> dict[str, Gold]:
    """The gold rewards that are the lab's truth, by reward_id, each of them also without spread."""
    golds = [gold for gold in study.teachers.gold if gold.lab] if study.teachers else []
    return {name: gold for gold in golds for name in gold.names}


def teacher_run_id(study: Study, reward_id: str, study_folder: Path) -> str:
    """Run id of what gives a reward. Raises UserError for a name that can teach nothing; LocationError."""
    trained, ensembles, golds = trained_by_id(study), ensembles_by_id(study), lab_golds(study)
    if one := trained.get(reward_id):
        return trained_run_ids(study, study.by_id[one.model_id], one.objective, study_folder)[one.seed]
    scored = {model.reward_id: model for model in study.reward_models}
    if reward_id in scored:
        return scored_run_id(scored[reward_id], study_folder)
    if reward_id in golds:
        return content_hash({"gold": reward_id, "lab": lab_run_id(study)})
    if reward_id in ensembles:
        members = sorted(ensembles[reward_id].members or ())
        return content_hash({"members": [teacher_run_id(study, one, study_folder) for one in members]})
    known = [*trained, *scored, *golds, *ensembles]
    hint = close_match(reward_id, known, "these can") if known else "the study has no reward that can"
    raise UserError(f"{study.study_id}: {reward_id!r} cannot teach a policy; {hint}")


def scaling_models(study: Study, reward_id: str) -> list[str]:
    """reward_ids of the reward models whose rewards of the initial policy's responses a teacher is scaled by."""
    members = ensembles_by_id(study)[reward_id].members if reward_id in ensembles_by_id(study) else (reward_id,)
    known = {*reward_model_ids(study)}
    return [one for one in members or () if one in known]


def policy_run_id(study: Study, run: PolicyRun, responses: str, study_folder: Path) -> str:
    """Run id of a policy run. responses: run id of the initial policy's responses."""
    reward = teacher_run_id(study, run.reward_id, study_folder)
    return teach_run_id(responses, reward, run.method, run.seed, study, study_folder)

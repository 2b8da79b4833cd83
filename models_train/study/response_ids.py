"""Run ids of responses, their rewards and checks, and of policy runs. Torch-free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models_train.parts import content_hash
from models_train.study.fingerprints import content_of, data_identity, lab_run_id, model_identity, resolve
from models_train.study.study import Study
from models_train.study.teachers import CheckName, Gold, Method, Policy, ResponseImport

PROMPTS_VERSION = 1
"""Version of the choice of prompts; a change of its results raises it."""
RESPONSES_VERSION = 1
"""Version of sampling; a change of its results raises it, and everything is sampled again."""
RESPONSE_IMPORT_VERSION = 1
"""Version of the imports of responses; a change of their rows raises it."""
RESPONSE_REWARDS_VERSION = 1
"""Version of the scoring of responses; a change of its results raises it."""
CHECKS_VERSION = 1
"""Version of the checks; a change of their results raises it."""
TEACH_VERSION = 1
"""Version of policy training; a change of its results raises it."""


def prompts_run_id(study: Study, study_folder: Path) -> str:
    """Run id of the prompts that policies are sampled on."""
    teachers = study.teachers
    assert teachers is not None
    prompts = teachers.prompts
    if prompts is None:
        return content_hash({"version": PROMPTS_VERSION, "lab": lab_run_id(study)})
    settings = prompts.model_dump(include={"name", "measure", "teach"})
    return content_hash(
        {"version": PROMPTS_VERSION, "settings": settings, "data": data_identity(prompts, study_folder)}
    )


def policy_identity(policy: Policy, study: Study, study_folder: Path) -> dict[str, Any]:
    """Model and revision of a policy, or the content of its folder. Raises LocationError."""
    if policy.model_id is not None:
        return model_identity(study.by_id[policy.model_id], study_folder)
    if policy.path is not None:
        return {"content": content_of(resolve(policy.path, study_folder))}
    return {"hub_id": policy.hub_id, "revision": policy.revision}


def responses_run_id(policy: Policy, engine: str, study: Study, study_folder: Path) -> str:
    """Run id of the responses of a policy to the study's prompts. engine: transformers or vllm."""
    described = {"policy_id", "model_id", "hub_id", "revision", "path", "family", "stage", "params_b", "engine"}
    return content_hash(
        {
            "version": RESPONSES_VERSION,
            "policy_id": policy.policy_id,
            "model": policy_identity(policy, study, study_folder),
            "sampling": policy.model_dump(exclude=described),
            "engine": engine,
            "prompts": prompts_run_id(study, study_folder),
        }
    )


def response_import_run_id(one: ResponseImport, study_folder: Path) -> str:
    """Run id of the responses of a file."""
    settings = one.model_dump(exclude={"path"}) | {"name": one.prompt_set}
    files = content_of(resolve(one.path, study_folder))
    return content_hash({"version": RESPONSE_IMPORT_VERSION, "settings": settings, "files": files})


def imported_prompts_run_id(study: Study, prompt_set: str, study_folder: Path) -> str:
    """Run id of the prompts of a set that files of responses state; the part of it says that the import is whole."""
    return content_hash({"prompts": _of_imports(study, study_folder, prompt_set)})


def imported_run_id(study: Study, policy_id: str, prompt_set: str, study_folder: Path, reward_id: str = "") -> str:
    """Run id of the imported responses of a policy to the prompts of a set, or of their rewards in the files."""
    return content_hash(
        {"of": [policy_id, prompt_set, reward_id], "files": _of_imports(study, study_folder, prompt_set)}
    )


def response_imports_run_id(study: Study, study_folder: Path) -> str:
    """Run id of all files of responses of a study."""
    return content_hash({"files": _of_imports(study, study_folder)})


def _of_imports(study: Study, study_folder: Path, prompt_set: str | None = None) -> list[str]:
    entries = study.teachers.responses if study.teachers else ()
    return [response_import_run_id(one, study_folder) for one in entries if prompt_set in (None, one.prompt_set)]


def response_rewards_run_id(reward: str, responses: str) -> str:
    """Run id of the rewards of responses. reward: run id of the reward model. responses: that of the responses."""
    return content_hash({"version": RESPONSE_REWARDS_VERSION, "reward": reward, "responses": responses})


def gold_run_id(gold: Gold, study: Study, responses: str, study_folder: Path) -> str:
    """Run id of the rewards that a gold reward other than a reward model gives to responses."""
    labels = content_of(resolve(gold.labels, study_folder)) if gold.labels else None
    lab = lab_run_id(study) if gold.lab and study.lab else None
    settings = gold.model_dump(include={"checks", "lab"})
    made = {"gold": gold.name, "settings": settings, "labels": labels, "lab": lab, "responses": responses}
    return content_hash({"version": RESPONSE_REWARDS_VERSION} | made)


def check_run_id(check: CheckName, responses: str) -> str:
    """Run id of a check of responses."""
    return content_hash({"version": CHECKS_VERSION, "check": check, "responses": responses})


def teach_run_id(policy: str, reward: str, method: Method, seed: int, study: Study, study_folder: Path) -> str:
    """Run id of a policy run. policy: run id of the initial policy's responses. reward: of what gives the reward."""
    assert study.teachers is not None and study.teachers.teach is not None
    settings = study.teachers.teach.model_dump(exclude={"method", "policies", "rewards", "seeds"})
    return content_hash(
        {
            "version": TEACH_VERSION,
            "policy": policy,
            "reward": reward,
            "method": method,
            "seed": seed,
            "settings": settings,
            "prompts": prompts_run_id(study, study_folder),
        }
    )

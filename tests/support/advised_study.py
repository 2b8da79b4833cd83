"""A made study `yours`: responses of four policies with a gold reward, and reward models of seven base models."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models_train.parts import write_part
from tests.dbt.conftest import dbt
from tests.support.response_parts import Sample, write_samples
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home

MARTS = (
    "dim_studies",
    "fct_teacher_predictors",
    "fct_teacher_predictor_comparisons",
    "fct_teacher_recommendations",
    "fct_teacher_regrets",
    "fct_lab_truth_checks",
    "fct_ensemble_partners",
)
SKILLS = {"base-0": 0.2, "base-1": 0.5, "base-2": 0.8, "base-3": 1.1, "base-4": 1.4, "base-5": 1.7, "base-6": 2.5}
FAMILIES = {name: "Llama" if place < 4 else "Qwen" for place, name in enumerate(SKILLS)}
RISES = {"base-0": 0.2, "base-5": 0.9, "base-6": 0.6}
"""Rise of the gold reward by which policy runs end that these reward models taught to llama-rl."""
SEEDS = (0, 1)
POLICY_FAMILIES = {"llama-sft": "Llama", "llama-rl": "Llama", "qwen-sft": "Qwen", "falcon": "Falcon"}


def samples() -> dict[str, Sample]:
    """Rewards that follow the gold the more, the higher the skill; base-6 has a second seed. Falcon has no reward."""
    rng = np.random.default_rng(0)
    found = {}
    for policy in ("llama-sft", "llama-rl", "qwen-sft"):
        gold = rng.normal(size=(60, 16))
        rewards = {"gold": gold}
        for base, skill in SKILLS.items():
            rewards[base] = skill * gold + rng.normal(size=gold.shape)
        rewards["base-6/s1"] = rewards["base-6"] + 0.3 * rng.normal(size=gold.shape)
        found[policy] = Sample(policy, rewards)
    found["falcon"] = Sample("falcon", {"gold": rng.normal(size=(60, 16))})
    for reward, rise in RISES.items():
        for seed in SEEDS:
            gold = np.asarray(found["llama-rl"].rewards["gold"]) + rise + 0.05 * seed + 0.1 * rng.normal(size=(60, 16))
            columns, name = {"logprob": -10.0, "reference_logprob": -12.0}, f"run:{reward}.{seed}"
            found[name] = Sample(name, {"gold": gold, reward: gold}, columns=columns)
    return found


def build(folder: Path) -> None:
    """Land the study and build the marts of advice on it."""
    home = Home(folder).ensure()
    own = {"kind": "hub", "objective": "regression", "data_id": "clean", "params_b": 1.0}
    sources = {
        name: own | {"base_model": name.split("/")[0], "family": FAMILIES[name.split("/")[0]]}
        for name in (*SKILLS, "base-6/s1")
    }
    write_samples(home.parts, "yours", list(samples().values()), {"gold": {"kind": "lab"}}, sources)
    empty = dict.fromkeys(column.name for column in TABLES["policies"].filled_columns)
    for name, family in POLICY_FAMILIES.items():
        policy = empty | {"policy_id": name, "kind": "imported", "family": family}
        write_part(home.parts, TABLES["policies"], [policy], study_id="yours", run_id=f"family-{name}")
    for reward in RISES:
        for seed in SEEDS:
            _write_run(home, reward, seed, empty)
    study = {"title": "Yours", "synthetic": False, "source": "a test", "use_loose_benchmarks": False, "answer_on": None}
    write_part(home.parts, TABLES["studies"], [study], study_id="yours", run_id="made")
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = dbt(home, "build", "--select", *(f"+{mart}" for mart in MARTS))
    assert done.returncode == 0, done.stdout


def _write_run(home: Home, reward: str, seed: int, empty: dict[str, None]) -> None:
    """A finished run of llama-rl that the reward model taught."""
    end, key = f"run:{reward}.{seed}", {"policy_run_id": f"{reward}.{seed}"}
    facts = {"policy_id": "llama-rl", "reward_id": reward, "method": "rloo", "settings": "{}", "seed": seed}
    sizes = dict.fromkeys(("n_steps_planned", "n_steps", "n_prompts", "n_responses"), 4)
    scales = {"reward_shift": 0.0, "reward_scale": 1.0, "kl_coefficient": 0.05, "device_seconds": 1800.0}
    run = key | facts | sizes | scales | {"final_policy_id": end, "status": "finished", "reason": None}
    saved = [
        key | {"step": step, "share_done": step / 4, "policy_id": name} for step, name in ((0, "llama-rl"), (4, end))
    ]
    policy = empty | {"policy_id": end, "kind": "trained", "family": "Llama", "parent_policy_id": "llama-rl"}
    for table, rows in (("policy_runs", [run]), ("policy_run_policies", saved), ("policies", [policy])):
        write_part(home.parts, TABLES[table], rows, study_id="yours", run_id=f"run-{reward}-{seed}")

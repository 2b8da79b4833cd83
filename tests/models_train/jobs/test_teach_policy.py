"""Policy runs: their parts, what teaches, measured policies, resuming after kills, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models_train.jobs import teach_policy
from models_train.study.teachers import Method
from tests.support.data_files import write
from tests.support.forked import Launcher
from tests.support.response_studies import MEASURE, TEACH
from tests.support.taught_studies import TEACH_SETTINGS, arguments, prepare, prepared, table, taught_study

pytestmark = pytest.mark.slow
METHODS: tuple[Method, ...] = ("rloo", "grpo", "best_of_n_distill")
SPENT = ("device_seconds", "peak_memory_bytes", "seconds")
TABLES = ("policies", "responses", "response_rewards", "policy_runs", "policy_run_steps", "policy_run_policies")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(place: Path, tmp_path: Path) -> Path:
    shutil.copytree(place.parent, tmp_path / "study")
    return tmp_path / "study" / place.name


def rows(home: Path) -> dict[str, Any]:
    """All rows of policy runs but what they cost."""
    found = {name: table(home, name).drop(SPENT, strict=False) for name in TABLES}
    return {name: frame.sort(frame.columns[:7]).to_dicts() for name, frame in found.items()}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_landed_with_its_policies_and_their_rewards(study: Path, method: Method) -> None:
    home = study.parent / "home"
    teach_policy.main(arguments(study, "hub:merged", method))
    (run,) = table(home, "policy_runs").to_dicts()
    assert (run["policy_id"], run["reward_id"], run["method"], run["seed"]) == ("tiny-policy", "hub:merged", method, 0)
    assert (run["status"], run["reason"], run["n_steps"], run["n_steps_planned"]) == ("finished", None, 8, 8)
    assert run["n_prompts"] == 16 and run["n_responses"] == (16 if method == "best_of_n_distill" else 32)
    assert json.loads(run["settings"])["generations"] == 2

    stored = table(home, "response_rewards").filter(
        policy_id="tiny-policy", reward_id="hub:merged", attribute="merged", status="ok"
    )
    measured = table(home, "prompts").filter(split="measure")["prompt_id"].to_list()
    initial = stored.filter(pl.col("prompt_id").is_in(measured))["reward"].to_numpy()
    assert run["reward_shift"] == pytest.approx(initial.mean(), rel=1e-12)
    assert run["reward_scale"] == pytest.approx(np.sqrt(initial.var() + 1e-8), rel=1e-12)

    steps = table(home, "policy_run_steps").sort("step")
    assert steps["step"].to_list() == list(range(1, 9))
    saved = table(home, "policy_run_policies").sort("step")
    names = [f"run:{run['policy_run_id']}@{step}" for step in (2, 4, 6, 8)]
    assert saved["policy_id"].to_list() == ["tiny-policy", *names]
    assert saved["share_done"].to_list() == [0, 0.25, 0.5, 0.75, 1] and run["final_policy_id"] == names[-1]
    policies = table(home, "policies").filter(kind="trained").sort("policy_id")
    assert policies["policy_id"].to_list() == names and set(policies["parent_policy_id"]) == {"tiny-policy"}

    responses = table(home, "responses").filter(pl.col("policy_id").is_in(names))
    assert responses.height == 4 * MEASURE * 2 and set(responses["prompt_id"]) == set(measured)
    rewards = table(home, "response_rewards").filter(pl.col("policy_id").is_in(names))
    assert set(rewards["reward_id"]) == {"hub:merged", "hub:first"}, "what teaches, and the gold reward"
    one, other = (rewards.filter(reward_id=name, attribute="merged") for name in ("hub:first", "hub:merged"))
    assert one.height == other.height == responses.height
    (costs,) = table(home, "run_costs").filter(job="teach_policy").to_dicts()
    assert costs["model_id"] == "tiny-policy" and costs["variant"] == f"hub:merged/{method}/s0"
    assert costs["n_tokens"] >= steps["n_tokens"].sum() and costs["device_seconds"] >= run["device_seconds"] > 0
    assert (home / "policies" / run["policy_run_id"] / "model.safetensors").exists()
    assert not list((home / "policy_runs").glob("[!.]*")), "intermediate policies and states are removed"
    assert {path.suffix for path in (home / "policies").rglob("*") if path.is_file()} <= {".json", ".safetensors"}

    before = {part: part.stat().st_mtime_ns for part in home.rglob("*.parquet")}
    teach_policy.main(arguments(study, "hub:merged", method))
    assert {part: part.stat().st_mtime_ns for part in home.rglob("*.parquet")} == before


def test_distances_are_those_of_plain_transformers(tmp_path: Path) -> None:
    study = prepared(tmp_path, {"max_tokens": 2}, learning_rate=1e-2)
    home = study.parent / "home"
    teach_policy.main(arguments(study, "hub:merged"))
    (run,) = table(home, "policy_runs").to_dicts()
    last = table(home, "responses").filter(policy_id=run["final_policy_id"], status="ok")
    folders = (home / "policies" / run["policy_run_id"], study.parent / "policy")
    tokenizer = AutoTokenizer.from_pretrained(folders[1])
    models = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval() for folder in folders]
    texts = {row["prompt_id"]: row for row in _prompts(study)}
    n_compared = 0
    for row in last.to_dicts():
        opening = f"<s>User: {texts[row['prompt_id']]['prompt']}\n\nAssistant:"
        asked = tokenizer(opening, add_special_tokens=False)["input_ids"]
        said = tokenizer(row["text"], add_special_tokens=False)["input_ids"]
        said += [tokenizer.eos_token_id] if row["finish_reason"] == "stop" else []
        if len(said) != row["n_tokens"]:
            continue  # bytes that are no text do not come back
        wanted = [_logprob(model, asked, said) for model in models]
        assert [row["logprob"], row["reference_logprob"]] == pytest.approx(wanted, abs=1e-3)
        n_compared += 1
    assert n_compared >= 2
    moved = (last["logprob"] - last["reference_logprob"]).to_numpy()
    assert moved.mean() > 0.1, "the policy moved"


def _prompts(study: Path) -> list[dict[str, Any]]:
    from models_train.policies.prompts import load_prompts
    from models_train.study.study import load_study

    found = load_prompts(load_study(study), study.parent).prompts
    return [{"prompt_id": one.prompt_id, "prompt": one.turns[-1].text} for one in found]


@torch.no_grad()
def _logprob(model: Any, asked: list[int], said: list[int]) -> float:
    ids = torch.tensor([[*asked, *said]])
    scores = model(input_ids=ids).logits[0, len(asked) - 1 : -1, :259].double().log_softmax(-1)
    return float(scores.gather(-1, torch.tensor(said)[:, None]).sum())


def test_a_regression_reward_model_teaches_by_its_merged_reward(tmp_path: Path) -> None:
    """The two rewards are the first attribute times 1 and times -1: a teacher that is read at its first output, as TRL
    reads one, would move both policies alike."""
    opposite = {"helpful": -1.0, "harmless": 0.0, "long": 0.0}
    path = prepared(
        tmp_path, None, opposite, steps=16, prompts_per_step=4, generations=4, learning_rate=1e-2, kl=0.0, seeds=[0]
    )
    home = path.parent / "home"
    moved = {}
    for name in ("hub:first", "hub:merged"):
        teach_policy.main(arguments(path, name))
        (run,) = table(home, "policy_runs").filter(reward_id=name).to_dicts()
        rewards = table(home, "response_rewards").filter(reward_id=name, attribute="helpful", status="ok")
        means = {
            row["policy_id"]: row["reward"] for row in rewards.group_by("policy_id").agg(pl.mean("reward")).to_dicts()
        }
        moved[name] = means[run["final_policy_id"]] - means["tiny-policy"]
        proxy = (
            table(home, "policy_run_steps")
            .filter(policy_run_id=run["policy_run_id"])
            .sort("step")["proxy_reward"]
            .to_numpy()
        )
        assert proxy[-6:].mean() > proxy[:6].mean(), "the merged reward rises in both"
    assert moved["hub:first"] > 0 > moved["hub:merged"]


def test_the_mean_of_an_ensemble_teaches(study: Path) -> None:
    text = study.read_text()
    ensemble = "ensemble:bases/hub:first+hub:merged"
    study.write_text(text.replace("seeds:\n", f"rewards: ['{ensemble}']\n    seeds:\n"))
    with pytest.raises(SystemExit) as caught:
        teach_policy.main(arguments(study, "hub:first"))
    assert "teachers.teach has no reward_id 'hub:first'" in str(caught.value)
    teach_policy.main(arguments(study, ensemble))
    home = study.parent / "home"
    (run,) = table(home, "policy_runs").to_dicts()
    assert run["reward_shift"] == pytest.approx(0, abs=1e-9)
    rewards = table(home, "response_rewards").filter(reward_id=ensemble)
    initial = rewards.filter(policy_id="tiny-policy")
    assert run["reward_scale"] == pytest.approx(np.sqrt(initial["reward"].to_numpy().var() + 1e-8), rel=1e-9)
    (source,) = table(home, "reward_sources").filter(reward_id=ensemble).to_dicts()
    assert source["kind"] == "ensemble"
    mine = rewards.filter(policy_id=run["final_policy_id"])
    assert mine["attribute"].unique().to_list() == ["reward"] and mine.height == MEASURE * 2


@pytest.mark.parametrize("method", ["rloo", "best_of_n_distill"])
def test_killed_at_any_moment_and_started_again_gives_equal_curves(place: Path, tmp_path: Path, method: Method) -> None:
    whole, cut = (tmp_path / name for name in ("whole", "cut"))
    for home in (whole, cut):
        shutil.copytree(place.parent / "home", home)
    with Launcher("models_train.jobs.teach_policy") as launcher:
        undisturbed = launcher.call(arguments(place, "hub:merged", method, home=whole), None)
        assert undisturbed["status"] == 0
        n_kills = 0
        for share in (0.3, 0.5, 0.7, 0.9):
            seconds = share * undisturbed["seconds"]
            n_kills += launcher.call(arguments(place, "hub:merged", method, home=cut), seconds)["status"] != 0
        assert launcher.call(arguments(place, "hub:merged", method, home=cut), None)["status"] == 0
    assert n_kills >= 2
    assert rows(cut) == rows(whole)


def test_a_run_that_cannot_go_on_is_recorded_as_failed(tmp_path: Path) -> None:
    """The template of the reward model refuses every prompt that is trained on."""
    path = taught_study(tmp_path)
    asked = [{"prompt": f"Question {number}?", "split": "measure"} for number in range(MEASURE)]
    asked += [{"prompt": f"Refused {number}?", "split": "teach"} for number in range(TEACH)]
    write(tmp_path / "prompts.jsonl", asked)
    template = AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template
    refusing = "{% if 'Refused' in messages[0]['content'] %}{{ raise_exception('no') }}{% endif %}"
    (tmp_path / "merged" / "chat_template.jinja").write_text(refusing + template)
    teach_policy.main(arguments(prepare(path), "hub:merged"))
    home = path.parent / "home"
    (run,) = table(home, "policy_runs").to_dicts()
    assert (run["status"], run["n_steps"], run["final_policy_id"]) == ("failed", 0, None)
    assert "no response of step 1 has a reward" in run["reason"]
    assert table(home, "policy_run_policies")["policy_id"].to_list() == ["tiny-policy"]
    before = {part: part.stat().st_mtime_ns for part in home.rglob("*.parquet")}
    teach_policy.main(arguments(path, "hub:merged"))
    assert {part: part.stat().st_mtime_ns for part in home.rglob("*.parquet")} == before


def refusal(given: list[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        teach_policy.main(given)
    return str(caught.value)


def test_runs_that_cannot_be_are_refused_with_the_remedy(study: Path, tmp_path: Path) -> None:
    assert "has no reward_id 'hub:merge'; did you mean 'hub:merged'" in refusal(arguments(study, "hub:merge"))
    assert "has no seed '7'; listed are 0, 1" in refusal(arguments(study, "hub:merged", seed=7))
    other = arguments(study, "hub:merged")
    other[other.index("tiny-policy")] = "tiny"
    assert "the study has no 'tiny' under teachers.policies" in refusal(other)

    fresh = taught_study(tmp_path / "fresh", seeds=[0])
    assert "the responses of tiny-policy are not there" in refusal(arguments(fresh, "hub:merged"))
    shutil.rmtree(study.parent / "home/parts/response_rewards")
    assert "hub:merged: its rewards of the responses of tiny-policy are not there" in refusal(
        arguments(study, "hub:merged")
    )
    text = study.read_text().replace("teach: 4", "teach: 0")
    study.write_text(text)
    assert "add `teach` to `prompts`" in refusal(arguments(study, "hub:merged"))


def test_rewards_that_do_not_vary_teach_nothing(study: Path) -> None:
    files = sorted((study.parent / "home/parts/response_rewards").glob("*/*.parquet"))
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        found = pq.read_table(file, partitioning=None)
        flat = pa.array([1.0] * found.num_rows)
        place = found.schema.get_field_index("reward")
        pq.write_table(found.set_column(place, found.schema.field(place), flat), file)
    assert "its rewards of the initial policy's responses are all equal" in refusal(arguments(study, "hub:merged"))
    assert TEACH_SETTINGS["steps"] == 8

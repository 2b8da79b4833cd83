"""Rewards of policies' responses, by the jobs that score benchmarks: the same rewards as there, and as plain ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig

from models_train.jobs import score_reward_model
from models_train.study.response_parts import scores_responses
from models_train.study.study import Study
from models_train.study.teachers import Teachers
from tests.models_train.jobs.test_score_completions import STUDY, WEIGHTS, Place
from tests.support.forked import Launcher
from tests.support.own_classifiers import change, write_classifier
from tests.support.responses import write_prompts, write_responses
from tests.support.score_files import study_with
from tests.support.tiny_models import SIZES

PROMPTS = {"one": "Which dog is good?", "two": "Name a colour.", "long": "word " * 40, "none": "Say nothing."}
TEXTS = {
    "one": ["This one.", "That one.", "This one.", " "],
    "two": ["Red.", "Blue, of course.", "<|assistant|> Green?", "Red. "],
    "long": ["Yes.", "No."],
    "none": ["", "\n"],
}
POLICY = {"policy_id": "model@t1", "model_id": "tiny"}
MERGE = {"helpful": 1.0, "2": -0.5, "harmless": 0.0}
KEY = ["policy_id", "prompt_set", "prompt_id", "response_no"]


def study(folder: Path, **teachers: Any) -> Path:
    """A study of one reward model of a folder, with prompts."""
    model = write_classifier(folder / "rm", LlamaConfig(**SIZES), 3)
    change(model, id2label={"0": "helpful", "1": "harmless", "2": "long"}, label2id=None)
    scored = {"reward_id": "hub:mine", "path": "./rm", "precision": "float32", "merge_weights": MERGE}
    pairs = [{"name": "my_pairs", "path": "pairs.jsonl"}]
    rows = [{"id": one, "prompt": PROMPTS[one], "chosen": TEXTS[one][0], "rejected": TEXTS[one][1]} for one in PROMPTS]
    pl.DataFrame(rows[:3]).write_ndjson(folder / "pairs.jsonl")
    own = {"prompts": {"path": "./prompts.jsonl", "measure": 4}, "policies": [POLICY]} | teachers
    path = study_with(folder, [], pairs, reward_models=[scored, scored | {"reward_id": "hub:other"}], teachers=own)
    write_prompts(folder / "home", "scores", folder / "prompts.jsonl", PROMPTS)
    write_responses(folder / "home", "scores", "model@t1", TEXTS)
    return path


def arguments(path: Path) -> list[str]:
    return ["--study", str(path), "--home", str(path.parent / "home"), "--reward", "hub:mine"]


def rewards(home: Path) -> pl.DataFrame:
    return pl.read_parquet(sorted((home / "parts" / "response_rewards").glob("*/*.parquet")), hive_partitioning=False)


@torch.no_grad()
def test_rewards_are_those_of_transformers_alone_and_of_the_benchmarks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study(tmp_path)
    score_reward_model.main(arguments(path))
    said = capsys.readouterr().out
    assert "hub:mine: 12 responses of model@t1 to prompts, 8 of them distinct and not empty" in said
    assert "responses, ok: 9" in said and "responses, empty: 3" in said
    found = rewards(tmp_path / "home")
    assert found.height == 12 * 4 and set(found["reward_id"]) == {"hub:mine"}
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "rm")
    for (prompt, number), rows in found.group_by("prompt_id", "response_no"):
        response = TEXTS[str(prompt)][int(str(number))]
        if not response.strip():
            assert set(rows["status"]) == {"empty"} and rows["reward"].null_count() == 4
            continue
        turns = [{"role": "user", "content": PROMPTS[str(prompt)]}, {"role": "assistant", "content": response}]
        ids = tokenizer.apply_chat_template(turns, return_dict=False)
        one, two, three = model(input_ids=torch.tensor([ids])).logits[0].tolist()
        wanted = {"helpful": one, "harmless": two, "long": three, "merged": one - three / 2}
        assert dict(rows.select("attribute", "reward").rows()) == pytest.approx(wanted, abs=1e-5)
    equal = found.filter(pl.col("prompt_id") == "one", pl.col("response_no").is_in([0, 2]))
    assert equal.group_by("attribute").agg(pl.col("reward").n_unique())["reward"].to_list() == [1] * 4

    on_pairs = pl.read_parquet(sorted((tmp_path / "home/parts/completion_rewards").glob("*/*.parquet")))
    for name, number in (("correct_1", 0), ("wrong_1", 1)):
        of_pairs = on_pairs.filter(completion=name).select(prompt_id="item_id", attribute="attribute", pair="reward")
        both = found.filter(response_no=number).join(of_pairs, on=["prompt_id", "attribute"])
        assert both.height == 12 and both["reward"].to_list() == pytest.approx(both["pair"].to_list(), abs=1e-6)

    costs = pl.read_parquet(sorted((tmp_path / "home/parts/run_costs").glob("*/*.parquet")))
    assert sorted(costs["variant"]) == ["my_pairs", "responses of model@t1 to prompts"]
    before = {part: part.stat().st_mtime_ns for part in (tmp_path / "home").rglob("*.parquet")}
    score_reward_model.main(arguments(path))
    assert {part: part.stat().st_mtime_ns for part in (tmp_path / "home").rglob("*.parquet")} == before
    write_responses(tmp_path / "home", "scores", "other", {"two": ["Green."]})
    capsys.readouterr()
    score_reward_model.main(arguments(path))
    assert "model@t1" not in capsys.readouterr().out and rewards(tmp_path / "home").height == 13 * 4


def test_the_merged_reward_of_a_regression_model_decides(tmp_path: Path) -> None:
    """All five attributes and their weighted sum, by the job of trained reward models; further policies follow."""
    place = Place(tmp_path)
    policy = POLICY | {"policy_id": "p", "model_id": "gemma"}
    settings = STUDY | {"teachers": {"prompts": {"path": "./prompts.jsonl", "measure": 4}, "policies": [policy]}}
    place.path.write_text(yaml.safe_dump(settings))
    write_prompts(place.home, "tiny", tmp_path / "prompts.jsonl", PROMPTS)
    write_responses(place.home, "tiny", "p", TEXTS)
    write_responses(place.home, "tiny", "run:1@50", TEXTS, kind="trained")
    place.train("gemma", "regression")
    place.run("gemma", "regression")
    found = rewards(place.home)
    assert set(found["reward_id"]) == {"gemma/regression"} and set(found["policy_id"]) == {"p"}
    wide = found.filter(status="ok").pivot("attribute", index=KEY, values="reward")
    summed = sum(wide[name] * weight for name, weight in WEIGHTS.items())
    assert wide.height == 9 and wide["merged"].to_list() == pytest.approx(list(summed), abs=1e-9)


def test_only_the_reward_models_that_the_study_names_score_responses(tmp_path: Path) -> None:
    path = study(tmp_path, rewards=["hub:other"])
    score_reward_model.main(arguments(path))
    assert not (tmp_path / "home/parts/response_rewards").exists()
    path = study(tmp_path, rewards=["hub:other"], gold=[{"reward": "hub:mine"}])
    score_reward_model.main(arguments(path))
    assert (tmp_path / "home/parts/response_rewards").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"gold": [{"strongest": True}]},
        {"gold": [{"reward": "hub:mine"}]},
        {"ensembles": [{"over": "bases", "members": ["hub:mine", "hub:other"]}]},
        {"teach": {}},
        {"teach": {"rewards": ["hub:mine"]}},
        {"rewards": None},
        {"rewards": ["hub:mine"]},
    ],
)
def test_what_is_gold_teaches_or_is_in_an_ensemble_scores_responses_in_any_case(settings: dict[str, Any]) -> None:
    made = Study.model_construct(teachers=Teachers.model_validate({"rewards": ["hub:other"]} | settings))
    others = Study.model_construct(teachers=Teachers(rewards=("hub:other",)))
    assert scores_responses(made, "hub:mine") and not scores_responses(others, "hub:mine")
    assert not scores_responses(Study.model_construct(teachers=None), "hub:mine")


def test_prompts_that_changed_since_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = study(tmp_path)
    pl.DataFrame([{"prompt_id": name, "prompt": f"Another {name}."} for name in PROMPTS]).write_ndjson(
        tmp_path / "prompts.jsonl"
    )
    with pytest.raises(SystemExit) as caught:
        score_reward_model.main(arguments(path))
    assert "the prompt 'one' of prompts is another one than that of the responses; sample or import" in str(
        caught.value
    )
    assert not (tmp_path / "home/parts/response_rewards").exists()
    assert (tmp_path / "home/parts/completion_rewards").exists(), "the benchmarks are scored nevertheless"


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again_gives_the_same_rewards(tmp_path: Path) -> None:
    path = study(tmp_path)
    write_responses(tmp_path / "home", "scores", "another", TEXTS)
    shutil.copytree(tmp_path / "home", tmp_path / "undisturbed")
    with Launcher("models_train.jobs.score_reward_model") as launcher:
        again = [str(tmp_path / "undisturbed") if part.endswith("/home") else part for part in arguments(path)]
        whole = launcher.call(again, None)
        assert whole["status"] == 0
        n_kills = 0
        for share in (0.6, 0.9):
            n_kills += launcher.call(arguments(path), whole["seconds"] * share)["status"] != 0
        assert n_kills and launcher.call(arguments(path), None)["status"] == 0
    one, other = (rewards(tmp_path / name).sort(*KEY, "attribute") for name in ("home", "undisturbed"))
    assert one.equals(other)

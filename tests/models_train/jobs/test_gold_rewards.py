"""Gold rewards of responses: people's labels, checks, the lab's truth, and reward models under other names."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from transformers import LlamaConfig

from models_train.jobs import gold_rewards, import_responses, run_checks, score_reward_model
from models_train.parts import content_hash, write_part
from models_train.study.golds import strongest
from models_train.study.reward_ids import source_run_id, stated_sources, trained_sources
from models_train.study.study import load_study
from models_train.synthetic.grade import true_utility
from models_train.synthetic.preferences import asked_question
from tests.support.data_files import REPOSITORY, write
from tests.support.made_data import test_pairs as made_pairs
from tests.support.own_classifiers import write_classifier
from tests.support.responses import PROMPT_SET, write_prompts, write_responses
from tests.support.score_files import study_with, write_lines
from tests.support.tiny_models import SIZES
from tests.support.trained_studies import small_lab
from warehouse.contracts.responses import RESPONSE_REWARDS
from warehouse.contracts.scores import COMPLETION_REWARDS, REWARD_SOURCES

PROMPTS = {"sum": "What is 1 + 1?", "code": "Write add.", "free": "Say something."}
GOLD = {"sum": ("math_answer", '"2"'), "code": ("code_tests", '["assert add(1, 2) == 3", "assert add(0, 0) == 0"]')}
TEXTS = {
    "sum": ["$2$", "It is 3.", ""],
    "code": ["def add(a, b): return a + b", "def add(a, b): return 3", "while True: pass"],
    "free": ["Something."],
}
LABELS = [
    {"policy_id": "p", "prompt_id": "sum", "response_no": 0, "label": 0.1},
    {"policy_id": "p", "prompt_id": "sum", "response_no": 1, "label": -2.718281828459045},
    {"policy_id": "p", "prompt_id": "code", "response_no": 0.0, "label": 3},
    {"policy_id": "later", "prompt_id": "code", "response_no": 0, "label": 3},
]


def study(folder: Path, *gold: dict[str, Any], home: Path | None = None, **more: Any) -> Path:
    home = home or folder / "home"
    policy = {"policy_id": "later", "model_id": "tiny"}
    teachers = {"prompts": {"path": "./prompts.jsonl"}, "gold": list(gold), "policies": [policy]}
    path = study_with(folder, [], [], teachers=teachers | more.pop("teachers", {}), **more)
    write_prompts(home, "scores", folder / "prompts.jsonl", PROMPTS, GOLD)
    write_responses(home, "scores", "p", TEXTS)
    return path


def arguments(path: Path) -> list[str]:
    return ["--study", str(path), "--home", str(path.parent / "home")]


def run(path: Path) -> None:
    gold_rewards.main(arguments(path))


def failure(path: Path) -> str:
    with pytest.raises(SystemExit) as caught:
        run(path)
    return str(caught.value)


def rows(folder: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(sorted((folder / "home" / "parts" / table).glob("*/*.parquet")), hive_partitioning=False)


def outcomes(folder: Path, reward_id: str) -> dict[tuple[str, int], tuple[float | None, str]]:
    found = rows(folder, "response_rewards").filter(reward_id=reward_id)
    return {(row["prompt_id"], row["response_no"]): (row["reward"], row["status"]) for row in found.to_dicts()}


def test_labels_keep_the_digits_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "labels.jsonl", LABELS)
    run(study(tmp_path, {"labels": "./labels.jsonl", "gold_id": "people"}))
    assert "rows: 7" in capsys.readouterr().out
    found = outcomes(tmp_path, "people")
    assert {key: value for key, (value, _) in found.items() if value is not None} == {
        (row["prompt_id"], row["response_no"]): row["label"] for row in LABELS[:3]
    }
    assert found["sum", 2] == (None, "empty") and found["free", 0] == (None, "no label")
    (gold,) = rows(tmp_path, "gold_rewards").to_dicts()
    assert (gold["gold_id"], gold["kind"], gold["checks"], gold["excluded"]) == ("people", "labels", None, None)
    (source,) = rows(tmp_path, "reward_sources").to_dicts()
    assert (source["reward_id"], source["kind"], source["scale"]) == ("people", "human", "mean_score")
    before = {part: part.stat().st_mtime_ns for part in tmp_path.rglob("*.parquet")}
    run(tmp_path / "scores.yaml")
    assert {part: part.stat().st_mtime_ns for part in tmp_path.rglob("*.parquet")} == before
    write(tmp_path / "labels.jsonl", LABELS[:1])
    run(tmp_path / "scores.yaml")
    assert len(list((tmp_path / "home/parts/response_rewards").glob("*/*.parquet"))) == 2, "another file, another part"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"label": None}, "row 5, column label: has no label; give one, or remove the row"),
        ({"label": "good"}, "row 5, column label: 'good' is text; write the reward as a number, without quotes"),
        ({"label": True}, "row 5, column label: True is no number"),
        ({"label": 10**400}, "is not a finite number"),
        ({"response_no": 1.5}, "row 5, column response_no: 1.5 is no number of a response"),
        ({"response_no": -1}, "row 5, column response_no: -1 is no number of a response"),
        ({"response_no": 7}, "row 5: p has no response 7 to 'sum', only 0 to 2; correct it"),
        ({"prompt_id": "Sum"}, "row 5: p has no response to a prompt 'Sum'; correct the prompt_id"),
        ({"policy_id": "q"}, "row 5: there are no responses of a policy 'q'; there are p, later"),
        ({"policy_id": ""}, "row 5, column policy_id: '' is no name"),
        ({"response_no": 0}, "row 5: the response is labelled in row 1 of ./labels.jsonl already; keep one"),
    ],
)
def test_a_bad_row_of_labels_is_named(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    write(tmp_path / "labels.jsonl", [*LABELS, LABELS[0] | {"response_no": 2} | change])
    said = failure(study(tmp_path, {"labels": "./labels.jsonl"}))
    assert "labels.jsonl" in said and problem in said and len(said.splitlines()) == 1
    assert not (tmp_path / "home/parts/response_rewards").exists()


def test_files_that_hold_no_labels_are_refused_and_other_golds_are_computed(tmp_path: Path) -> None:
    for name, content, problem in (
        ("none.jsonl", "", "is empty"),
        ("page.json", "<!DOCTYPE html>", "is a web page"),
        ("columns.jsonl", '{"policy": "p", "prompt_id": "sum", "response_no": 0, "label": 1}\n', "policy_id"),
        ("labels.csv", "policy_id,prompt_id,response_no,label\np,sum,0,1\n", "labels.csv"),
    ):
        (tmp_path / name).write_text(content)
        said = failure(study(tmp_path, {"labels": f"./{name}"}, {"checks": ["math_answer"]}))
        assert problem in said and len(said.splitlines()) <= 2, said
    assert "./missing.jsonl: there is no" in failure(study(tmp_path, {"labels": "./missing.jsonl"}))
    assert outcomes(tmp_path, "checks")["sum", 0] == (1.0, "ok")


def test_checks_are_run_and_their_mean_is_the_gold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = {"checks": ["math_answer", "code_tests"], "gold_id": "tests"}
    path = study(tmp_path, both, {"checks": ["math_answer"]}, teachers={"allow_code": True})
    run_checks.main(arguments(path))
    said = capsys.readouterr().out
    assert "code_tests, timeout: 1" in said and "math_answer, ok: 2" in said
    checks = rows(tmp_path, "response_checks")
    assert checks.height == 14 and set(checks["check_name"]) == {"math_answer", "code_tests"}
    assert set(checks.filter(status="not_applicable")["detail"]) == {
        "the prompt has no gold", "the prompt has gold for math_answer", "the prompt has gold for code_tests",
        "there is no text",
    }  # fmt: skip
    before = {part: part.stat().st_mtime_ns for part in tmp_path.rglob("*.parquet")}
    run(path)
    assert before.items() <= {part: part.stat().st_mtime_ns for part in tmp_path.rglob("*.parquet")}.items()
    assert outcomes(tmp_path, "tests") == {
        ("sum", 0): (1.0, "ok"),
        ("sum", 1): (0.0, "ok"),
        ("sum", 2): (None, "empty"),
        ("code", 0): (1.0, "ok"),
        ("code", 1): (0.5, "ok"),
        ("code", 2): (None, "code_tests: timeout"),
        ("free", 0): (None, "not_applicable"),
    }
    assert outcomes(tmp_path, "checks")["code", 0] == (None, "not_applicable")
    golds = {row["gold_id"]: row["checks"] for row in rows(tmp_path, "gold_rewards").to_dicts()}
    assert json.loads(golds["tests"]) == ["math_answer", "code_tests"] and json.loads(golds["checks"]) == [
        "math_answer"
    ]


def test_the_truth_of_the_lab_and_its_flat_teacher(tmp_path: Path) -> None:
    """By what the lab knows of the question; a prompt that is none has a status."""
    dice = [f"gold/{number}" for number in range(40)]
    questions = {text: asked_question(text) for text in dice}
    gold = {text: ("lab", json.dumps({"dice": text})) for text in dice}
    prompts = {text: question.prompt for text, question in questions.items()}
    texts = {
        text: [question.good.text, *(one.text for one in question.flawed.values())]
        for text, question in questions.items()
    }
    home = tmp_path / "home"
    policy = {"policy_id": "p", "model_id": "coder"}
    teachers = {"policies": [policy], "gold": [{"lab": True, "gold_id": "gold"}]}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small_lab() | {"teachers": teachers}))
    write_prompts(home, "small", tmp_path / "p.jsonl", prompts | {"other": "Hello?"}, gold)
    write_responses(home, "small", "p", texts | {"other": ["Hello."]})
    run(path)
    found, flat = outcomes(tmp_path, "gold"), outcomes(tmp_path, "gold_flat")
    assert found.pop(("other", 0)) == flat.pop(("other", 0)) == (None, "no question of the lab")
    for (name, number), (value, status) in found.items():
        assert status == "ok" and value == true_utility(questions[name], texts[name][number])
        assert flat[name, number][0] in (value, value * 0.001)
    flattened = {name for name, number in found if number == 0 and flat[name, 0] != found[name, 0]}
    assert 10 < len(flattened) < 30
    for name in flattened:
        order = [
            sorted(range(len(texts[name])), key=lambda number, of=of, name=name: of[name, number][0])
            for of in (found, flat)
        ]
        assert order[0] == order[1]
    (row,) = rows(tmp_path, "gold_rewards").to_dicts()
    assert (row["gold_id"], row["kind"]) == ("gold", "lab")
    sources = {row["reward_id"]: row["kind"] for row in rows(tmp_path, "reward_sources").to_dicts()}
    assert sources == {"gold": "function", "gold_flat": "function"}


def scored(home: Path, reward_id: str, values: Mapping[str, float], accuracy: float) -> None:
    """Rewards of a trained reward model: of responses, and of a test set, right on a share of it."""
    dice = random.Random(reward_id)
    rows_of = [
        {"reward_id": reward_id, "policy_id": "p", "prompt_set": PROMPT_SET, "prompt_id": name, "response_no": 0}
        | {"attribute": "reward", "reward": value, "n_tokens": 9, "is_truncated": False, "status": "ok"}
        for name, value in values.items()
    ]
    write_part(home / "parts", RESPONSE_REWARDS, rows_of, study_id="scores", run_id=content_hash([reward_id, rows_of]))
    pairs = []
    for row in made_pairs(4):
        is_right = dice.random() < accuracy
        for completion in ("chosen", "rejected"):
            key = {
                "benchmark": "rewardbench",
                "subset": row["subset"],
                "item_id": str(row["id"]),
                "completion": completion,
            }
            said = {"attribute": "reward", "reward": float((completion == "chosen") == is_right), "n_tokens": 9}
            pairs.append(
                {"reward_id": reward_id} | key | said | {"is_truncated": False, "status": "ok", "source": None}
            )
    write_part(home / "parts", COMPLETION_REWARDS, pairs, study_id="scores", run_id=content_hash([reward_id, accuracy]))


def test_the_strongest_trained_reward_model_is_gold_and_left_out_of_its_own_comparison(tmp_path: Path) -> None:
    write(tmp_path / "test.jsonl", made_pairs(1)[:2])
    write(tmp_path / "train.jsonl", [{}])
    training = {
        "preferences": {"path": "train.jsonl"},
        "ratings": {"path": "train.jsonl"},
        "test_set": {"path": "test.jsonl"},
    }
    golds = ({"strongest": True}, {"reward": "tiny/regression", "gold_id": "same"}, {"reward": "tiny/bradley_terry"})
    path = study(tmp_path, *golds, training=training)
    home = tmp_path / "home"
    run(path)
    assert {row["gold_id"] for row in rows(tmp_path, "gold_rewards").to_dicts()} == {"same", "tiny/bradley_terry"}
    read = load_study(path)
    for source in trained_sources(read):
        write_part(home / "parts", REWARD_SOURCES, [source], study_id="scores", run_id=source_run_id(source))
    scored(home, "tiny/bradley_terry", {"sum": 0.5, "free": -0.25}, 0.9)
    scored(home, "tiny/regression", {"sum": 0.75, "free": 1 / 3}, 0.6)
    run(path)
    assert strongest(home / "parts", read) == "tiny/bradley_terry"
    assert outcomes(tmp_path, "strongest") == {("sum", 0): (0.5, "ok"), ("free", 0): (-0.25, "ok")}
    assert outcomes(tmp_path, "same") == {("sum", 0): (0.75, "ok"), ("free", 0): (1 / 3, "ok")}
    newest = max((home / "parts" / "gold_rewards").glob("*/*.parquet"), key=lambda part: part.stat().st_mtime_ns)
    excluded = {row["gold_id"]: row["excluded"] for row in pl.read_parquet(newest).to_dicts()}
    assert excluded == {
        "strongest": "tiny/bradley_terry",
        "same": "tiny/regression",
        "tiny/bradley_terry": "tiny/bradley_terry",
    }
    sources = {row["reward_id"]: row for row in rows(tmp_path, "reward_sources").to_dicts()}
    assert sources["strongest"]["model_id"] == "tiny" and sources["same"]["objective"] == "regression"
    scored(home, "tiny/regression", {"sum": 0.75, "free": 1 / 3}, 1.0)
    assert strongest(home / "parts", read) == "tiny/regression", "once it is trained better"


def test_the_gold_of_an_import_has_the_digits_of_the_file(tmp_path: Path) -> None:
    """Under the name of its scores, and copied under another; a reward model scores the imported responses."""
    scores = [0.1, -2.718281828459045, 3]
    texts = ["One.", "Two.", "Three."]
    write_lines(tmp_path / "own.jsonl", [
        {"prompt": "Count.", "response": text, "policy": "gpt", "reward": value}
        for text, value in zip(texts, scores, strict=True)
    ])  # fmt: skip
    write_classifier(tmp_path / "rm", LlamaConfig(**SIZES))
    teachers = {
        "responses": [{"path": "./own.jsonl", "format": "plain", "reward_id": "armo"}],
        "gold": [{"reward": "armo"}, {"reward": "armo", "gold_id": "other"}],
    }
    model = {"reward_id": "hub:mine", "path": "./rm", "precision": "float32"}
    pairs = [{"name": "my_pairs", "path": "pairs.jsonl"}]
    write_lines(tmp_path / "pairs.jsonl", [{"prompt": "Count.", "chosen": "One.", "rejected": "Two."}])
    path = study_with(tmp_path, [], pairs, reward_models=[model], teachers=teachers)
    for source in stated_sources(load_study(path)):
        write_part(tmp_path / "home/parts", REWARD_SOURCES, [source], study_id="scores", run_id=source_run_id(source))
    import_responses.main(arguments(path))
    score_reward_model.main([*arguments(path), "--reward", "hub:mine"])
    run(path)
    found = rows(tmp_path, "response_rewards")
    for reward_id in ("armo", "other"):
        assert found.filter(reward_id=reward_id).sort("response_no")["reward"].to_list() == scores
    assert found.filter(reward_id="hub:mine", status="ok").height == 3
    excluded = {row["gold_id"]: row["excluded"] for row in rows(tmp_path, "gold_rewards").to_dicts()}
    assert excluded == {"armo": "armo", "other": "armo"}


def test_a_study_without_gold_or_checks_is_told_so(tmp_path: Path) -> None:
    path = study(tmp_path)
    assert "the study scores has no gold reward; add one under teachers.gold" in failure(path)
    with pytest.raises(SystemExit, match="no gold reward of the study scores is made of checks"):
        run_checks.main(arguments(path))


def test_gold_rewards_need_no_torch() -> None:
    code = "import sys, models_train.jobs.gold_rewards; print('torch' in sys.modules, 'math_verify' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]

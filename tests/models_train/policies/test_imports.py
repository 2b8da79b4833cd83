"""Files of responses in every format that people have, and what is wrong with them."""

from __future__ import annotations

import json
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from models_train.data.records import Turn, prompt_id
from models_train.errors import UserError
from models_train.jobs.import_responses import main
from models_train.policies.imports import NO_REWARD, all_prompts, import_responses
from models_train.study.reward_ids import stated_sources
from models_train.study.study import load_study
from tests.support.data_files import write
from tests.support.response_studies import import_study, results, rows, write_json

ALPACA = [
    {"instruction": "Say hi.", "output": "Hi.", "generator": "gpt4", "dataset": "helpful_base", "datasplit": "eval"},
    {"instruction": "Count.", "output": "", "generator": "gpt4"},
    {"instruction": "Say hi.", "output": "Hello.", "generator": "org/tiny"},
]
ULTRA = [
    {
        "source": "evol",
        "instruction": "Why?",
        "models": ["a", "b"],
        "completions": [
            {"model": "a", "response": "So.", "overall_score": 7.5, "annotations": {}},
            {"model": "b", "response": "", "overall_score": 3.0},
            {"model": "c", "response": "Not so.", "overall_score": None},
        ],
    }
]
BEST_OF_N = [
    {"prompt": "Say hi.", "input": f"Hi {n}", "model": "zephyr", "scores": [n / 3], "id": [0, n]} for n in range(3)
]
GOLD = [
    {"instruction": "Add", "input": "1 and 2", "answers": ["3", "4", "3"], "gold_scores": [0.1, -1.25e-7, 0.1]},
    {"instruction": "Add", "input": "", "answers": ["5"], "gold_scores": [2]},
]
PLAIN = [
    {"prompt": "A", "response": "1", "policy": "one", "prompt_id": 5, "reward": 1e-300},
    {"prompt": [{"role": "user", "content": "B"}], "responses": ["2", "3"], "reward": [0.25, None]},
    {"prompt": "A", "response": "1", "policy": "one", "prompt_id": 5},
]


def imported(folder: Path, content: Any, of: str, name: str = "file.json", **more: Any) -> Path:
    write_json(folder / name, content)
    return import_study(folder, {"path": name, "format": of, **more})


def run(path: Path) -> None:
    main(["--study", str(path), "--home", str(path.parent / "home")])


def failure(path: Path) -> str:
    with pytest.raises(SystemExit) as caught:
        run(path)
    assert not (path.parent / "home" / "parts").exists()
    return str(caught.value)


def responses(path: Path) -> list[tuple[Any, ...]]:
    run(path)
    found = rows(path.parent / "home", "responses").sort("policy_id", "prompt_id", "response_no")
    return found.select("policy_id", "text", "response_no", "status").rows()


def test_alpaca_eval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = imported(tmp_path, ALPACA, "alpaca_eval", "model_outputs.json", licence="cc-by-nc-4.0")
    found = set(responses(path))
    assert found == {
        ("model_outputs:gpt4", "Hi.", 0, "ok"),
        ("model_outputs:gpt4", "", 0, "empty"),
        ("model_outputs:org/tiny", "Hello.", 0, "ok"),
    }
    said = capsys.readouterr().out
    assert "rows: 3\n" in said and "policies: 2\n" in said and "prompts: 2\n" in said and "rewards: 0\n" in said
    policies = {row["policy_id"]: row for row in rows(tmp_path / "home", "policies").to_dicts()}
    tiny = policies["model_outputs:org/tiny"]  # a model of the study, by its name on the hub
    assert (tiny["kind"], tiny["model_id"], tiny["family"], tiny["stage"]) == ("imported", "tiny", "Llama-3", "base")
    assert tiny["licence"] == "cc-by-nc-4.0" and tiny["source"].startswith("model_outputs.json@")
    prompts = rows(tmp_path / "home", "prompts").sort("order_no")
    assert prompts["prompt_id"].to_list() == [prompt_id((Turn("user", text),)) for text in ("Say hi.", "Count.")]
    assert set(prompts["prompt_set"]) == {"model_outputs"} and set(prompts["split"]) == {"measure"}
    numbers = rows(tmp_path / "home", "responses").select("n_tokens", "logprob", "finish_reason").unique().rows()
    assert numbers == [(None, None, "import")]
    assert all_prompts(load_study(path), tmp_path)["model_outputs", prompts["prompt_id"][0]].turns[0].text == "Say hi."


def test_ultrafeedback_with_its_scores(tmp_path: Path) -> None:
    path = imported(tmp_path, ULTRA, "ultrafeedback", name="uf.json", reward_id="GPT-4 rating")
    assert [row[:2] for row in responses(path)] == [("uf:a", "So."), ("uf:b", ""), ("uf:c", "Not so.")]
    found = rows(tmp_path / "home", "response_rewards").sort("policy_id")
    assert found.select("reward", "status", "attribute").rows() == [
        (7.5, "ok", "reward"),
        (None, "empty", "reward"),
        (None, NO_REWARD, "reward"),
    ]
    (source,) = stated_sources(load_study(path))
    assert (source["reward_id"], source["kind"]) == ("GPT-4 rating", "imported")


def test_best_of_n_rows_of_reward_bench(tmp_path: Path) -> None:
    path = imported(tmp_path, BEST_OF_N, "best_of_n", reward_id="hub:RM")
    assert responses(path) == [("file:zephyr", f"Hi {n}", n, "ok") for n in range(3)]
    assert rows(tmp_path / "home", "response_rewards")["reward"].to_list() == [0.0, 1 / 3, 2 / 3]


def test_labelled_generations_to_the_digit_with_equal_texts(tmp_path: Path) -> None:
    path = import_study(tmp_path, {"path": "gens", "format": "gold_labelled", "reward_id": "gold"})
    write_json(tmp_path / "gens" / "a.json", GOLD)
    found = responses(path)
    assert {row[0] for row in found} == {"gens"} and sorted(row[1] for row in found) == ["3", "3", "4", "5"]
    rewards = rows(tmp_path / "home", "response_rewards")
    key = ["policy_id", "prompt_id", "response_no"]
    by_text = rewards.join(rows(tmp_path / "home", "responses"), on=key).select("text", "response_no", "reward").rows()
    assert sorted(by_text) == [("3", 0, 0.1), ("3", 2, 0.1), ("4", 1, -1.25e-7), ("5", 0, 2.0)]
    prompts = import_responses(load_study(path), tmp_path).prompts
    assert sorted(one.turns[0].text for one in prompts.values()) == ["Add", "Add\n\n1 and 2"]


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz", "p.jsonl.zst"])
def test_plain_rows(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / name, PLAIN)
    path = import_study(tmp_path, {"path": name, "format": "plain", "policy_id": "mine"})
    assert set(responses(path)) == {("p:one", "1", 0, "ok"), ("p:one", "1", 1, "ok"), ("mine", "2", 0, "ok"),
                                    ("mine", "3", 1, "ok")}  # fmt: skip
    assert f"{name}: 2 scores are left out; set reward_id in the entry to import them" in capsys.readouterr().out
    assert "5" in rows(tmp_path / "home", "prompts")["prompt_id"].to_list()
    assert not (tmp_path / "home" / "parts" / "response_rewards").exists()


def test_files_of_one_set_share_their_prompts(tmp_path: Path) -> None:
    write_json(tmp_path / "one.json", ALPACA[:2])
    write_json(tmp_path / "two.json", [{"instruction": "Say hi.", "output": "Hey.", "generator": "gpt4"}])
    both = [{"path": f"{name}.json", "format": "alpaca_eval", "name": "alpaca"} for name in ("one", "two")]
    path = import_study(tmp_path, *both)
    found = responses(path)
    assert [(row[1], row[2]) for row in found if row[1]] == [("Hi.", 0), ("Hey.", 1)]
    assert rows(tmp_path / "home", "prompts").height == 2
    before = results(tmp_path / "home")
    times = {part: part.stat().st_mtime_ns for part in (tmp_path / "home").rglob("*.parquet")}
    run(path)
    assert results(tmp_path / "home") == before
    assert {part: part.stat().st_mtime_ns for part in (tmp_path / "home").rglob("*.parquet")} == times
    # A policy that the files do not have any more goes.
    write_json(tmp_path / "one.json", [{"instruction": "Say hi.", "output": "Hm.", "generator": "claude"}])
    write_json(tmp_path / "two.json", [ALPACA[2]])
    assert {row[0] for row in responses(path)} == {"alpaca:claude", "alpaca:org/tiny"}
    assert set(rows(tmp_path / "home", "policies")["policy_id"]) == {"alpaca:claude", "alpaca:org/tiny"}


@pytest.mark.parametrize(
    ("of", "row", "said"),
    [
        ("alpaca_eval", {"instruction": "x", "generator": "g"}, "column output"),
        ("alpaca_eval", {"instruction": "x", "output": None, "generator": "g"}, "is null"),
        ("alpaca_eval", {"instruction": "x", "output": 3, "generator": "g"}, "3 is not text; put it in quotes"),
        ("alpaca_eval", {"instruction": "", "output": "y"}, "column instruction: is empty"),
        ("alpaca_eval", {"instruction": "x", "output": "y", "generator": "a\nb"}, "rename the policy"),
        ("alpaca_eval", {"instruction": "x", "output": "\ud83d", "generator": "g"}, "half a character"),
        ("alpaca_eval", {"instruction": "x", "output": "y", "generator": "g" * 300}, "more than 200 characters"),
        ("alpaca_eval", ["x"], "is not a row"),
        ("ultrafeedback", {"instruction": "x", "completions": "none"}, "is no list"),
        ("ultrafeedback", {"instruction": "x", "completions": [{"model": "a"}]}, "completion 1: is null"),
        ("ultrafeedback", {"instruction": "x", "completions": ["a"]}, "completion 1: is not {model, response"),
        ("ultrafeedback", {"instruction": "x", "completions": [{"response": "a", "overall_score": "N/A"}]}, "is text"),
        ("best_of_n", {"prompt": "x", "scores": [1.0]}, "has no response, which is a column output, input, response"),
        ("best_of_n", {"prompt": "x", "output": "y", "scores": [1.0, 2.0]}, "is a list of 2 values"),
        ("best_of_n", {"prompt": "x", "output": "y", "scores": float("nan")}, "is not a finite number"),
        ("gold_labelled", {"instruction": "x", "answers": ["a"], "gold_scores": [1, 2]}, "has 1 answers and 2 values"),
        ("gold_labelled", {"instruction": "x", "answers": ["a", 4], "gold_scores": [1, 2]}, "response 2: 4 is not"),
        ("gold_labelled", {"instruction": "x", "answers": ["a"], "gold_scores": [True]}, "is no number"),
        ("plain", {"prompt": "x"}, "has neither response nor responses; give one"),
        ("plain", {"prompt": "x", "response": "a", "responses": ["b"]}, "has both response and responses; give one"),
        ("plain", {"prompt": "x", "response": [{"role": "user", "content": "q"}]}, "do not end with the assistant's"),
        ("plain", {"prompt": "x", "responses": ["a"], "reward": [1, 2]}, "has 1 responses and 2 values of reward"),
        ("plain", {"prompt": "x", "responses": ["a"], "reward": 1}, "is no list"),
        ("plain", {"prompt": "x", "response": "a", "prompt_id": "0"}, "is also the prompt_id of another prompt"),
        ("plain", {"prompt": "x", "response": "a", "prompt_id": {"a": 1}}, "column prompt_id"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(of: str, row: Any, said: str, tmp_path: Path) -> None:
    good: dict[str, Any] = {
        "alpaca_eval": ALPACA[0],
        "ultrafeedback": ULTRA[0],
        "best_of_n": BEST_OF_N[0],
        "gold_labelled": GOLD[0],
        "plain": {"prompt": "A", "response": "1", "prompt_id": 0, "reward": 1.0},
    }
    reward_id = {} if of == "alpaca_eval" else {"reward_id": "hub:RM"}
    told = failure(imported(tmp_path, [good[of], row], of, **reward_id))
    assert told.startswith("file.json, row 2") and said in told, told
    assert told.count("file.json, row 2") == 1


def test_pickles_are_refused_with_the_remedy(tmp_path: Path) -> None:
    remedy = "is a pickle, and reading one runs the code in it; write its rows as JSONL where it was made"
    torch.save({"responses": ["a"]}, tmp_path / "r.pt")
    for name in ("r.pt", "named.jsonl", "data.dat"):
        if name != "r.pt":
            (tmp_path / name).write_bytes((tmp_path / "r.pt").read_bytes())
        assert f"{name}: {remedy}" in failure(import_study(tmp_path, {"path": name, "format": "plain"}))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.pkl").write_bytes(pickle.dumps([1]))
    write(tmp_path / "folder" / "x.jsonl", PLAIN)
    assert remedy in failure(import_study(tmp_path, {"path": "folder", "format": "plain"}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; fetch or make it again"),
        (b"[]", "holds no row; take it out of the import"),
        (b"<html>", "is a web page, not the data"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"\xff\xfe[\x00", "is text in UTF-16"),
        (b"instruction,output\n", "is neither JSON, JSONL nor Parquet"),
        (b'[{"instruction": "x"', "is not JSON"),
        (b'{"instruction": 3}', "row 1"),
        (b"PK\x03\x04 a spreadsheet", "is neither JSON"),
    ],
)
def test_files_of_other_kinds_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = imported(tmp_path, [], "alpaca_eval")
    (tmp_path / "file.json").write_bytes(content)
    told = failure(path)
    assert told.startswith("file.json") and said in told


def test_settings_that_do_not_fit_the_file_are_told(tmp_path: Path) -> None:
    scores = imported(tmp_path, ALPACA, "alpaca_eval", reward_id="gold")
    assert failure(scores) == (
        "file.json: its rows have no scores, which would be the rewards of gold; remove reward_id from the entry of "
        "teachers.responses, or give files with scores"
    )
    other = imported(tmp_path, ULTRA, "alpaca_eval")
    assert "column output: missing; the row has source, instruction, models, completions" in failure(other)
    assert "there is no" in failure(import_study(tmp_path, {"path": "none.json", "format": "plain"}))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no file with records" in failure(import_study(tmp_path, {"path": "empty", "format": "plain"}))
    with pytest.raises(SystemExit, match="teachers: names no responses; list policies to sample them from, or files"):
        run(import_study(tmp_path))


def test_ten_thousand_rows_are_imported_in_three_seconds(tmp_path: Path) -> None:
    text = "An answer of some length, as people write them. " * 8
    many = [
        {"prompt": f"Question {n % 700}?", "response": f"{text}{n}", "policy": f"p{n % 5}", "reward": n / 7}
        for n in range(10_000)
    ]
    (tmp_path / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
    path = import_study(tmp_path, {"path": "many.jsonl", "format": "plain", "reward_id": "gold"})
    seconds = []
    for number in range(2):
        began = time.process_time()
        main(["--study", str(path), "--home", str(tmp_path / f"home-{number}")])
        seconds.append(time.process_time() - began)
    assert min(seconds) < 3
    found = rows(tmp_path / "home-0", "response_rewards")
    assert found.height == 10_000 and sorted(found["reward"].to_list()) == [n / 7 for n in range(10_000)]


def test_equal_imports_have_equal_rows(tmp_path: Path) -> None:
    path = imported(tmp_path, GOLD, "gold_labelled")
    one, two = (import_responses(load_study(path), tmp_path) for _ in range(2))
    assert (one.prompts, one.responses, one.rewards) == (two.prompts, two.responses, two.rewards)
    with pytest.raises(UserError, match="is a pickle"):
        (tmp_path / "file.json").write_bytes(pickle.dumps({}))
        import_responses(load_study(path), tmp_path)
